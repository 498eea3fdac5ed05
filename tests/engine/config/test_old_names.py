"""Settings by the names of version 0.1.0 mean what their new names mean."""

from dataclasses import asdict
from typing import Any

import pytest

from hero_engine.config.old_names import (
    NEW_NAMES,
    NEW_VALUES,
    flat_with_new_names,
    renamed,
    with_new_names,
)
from hero_engine.config.settings import (
    EmbeddingSettings,
    RewardSettings,
    Settings,
    from_toml,
    setting_types,
    with_changes,
)
from hero_engine.config.validation import flat
from hero_engine.core.errors import HeroError


def test_every_new_name_is_a_setting_and_no_old_one_is() -> None:
    known = set(setting_types())
    run = {old: new for old, new in NEW_NAMES.items() if not old.startswith("ui.")}
    assert set(run.values()) <= known and not run.keys() & known
    assert len(set(NEW_NAMES.values())) == len(NEW_NAMES)
    assert NEW_VALUES.keys() <= known


def test_settings_by_old_names_are_the_same_settings() -> None:
    old = """
        minibatch = 4
        same_noise = 2
        [embedding]
        kind = "network"
        [reward]
        kind = "probability"
        [unlabelled]
        rounds = 3
        pictures = 32
    """
    got = from_toml(old)
    assert got == from_toml(
        """
        microbatch = 4
        fixed_noise_samples = 2
        embedding.kind = "backbone"
        reward.kind = "probability"
        self_training.rounds = 3
        self_training.images = 32
        """
    )
    assert (got.self_training.rounds, got.embedding.kind) == (3, "backbone")


@pytest.mark.parametrize("old", [name for name in NEW_NAMES if not name.startswith("ui.")])
def test_each_old_name_changes_the_setting_of_its_new_name(old: str) -> None:
    base = Settings(
        reward=RewardSettings(kind="probability"), embedding=EmbeddingSettings(kind="backbone")
    )
    before = flat(asdict(base))
    value = OTHER.get(type(before[NEW_NAMES[old]]), 2)
    section, _, key = old.rpartition(".")
    value = "round" if old == "forward.reference" else value
    changes: dict[str, Any] = {section: {key: value}} if section else {key: value}
    changes |= {"update": "forward"}
    after = flat(asdict(with_changes(base, changes)))
    differ = {name for name in after if after[name] != before[name]}
    assert differ - {"update"} == {NEW_NAMES[old]} or before[NEW_NAMES[old]] == value


OTHER = {bool: False, str: "mid_block", float: 0.75}


def test_renamed_settings_are_reported() -> None:
    table, notes = renamed({"unlabelled": {"rounds": 1}, "embedding": {"kind": "network"}})
    assert table == {"self_training": {"rounds": 1}, "embedding": {"kind": "backbone"}}
    assert notes == (
        "unlabelled.rounds is now self_training.rounds",
        "embedding.kind = 'network' is now 'backbone'",
    )


def test_present_names_are_left_alone() -> None:
    table = asdict(Settings())
    assert renamed(table) == (table, ())


def test_the_callers_table_is_not_changed() -> None:
    table = {"unlabelled": {"rounds": 1}}
    with_new_names(table)
    assert table == {"unlabelled": {"rounds": 1}}


def test_both_names_of_a_setting_are_refused() -> None:
    with pytest.raises(HeroError, match=r"forward\.pull is the old name of forward\.kl_weight"):
        renamed({"forward": {"pull": 1, "kl_weight": 1}})


@pytest.mark.parametrize("value", [3, [1], {"rounds": 1}, "text", None])
def test_a_value_of_any_kind_is_left_to_the_check_of_its_new_name(value: Any) -> None:
    assert with_new_names({"embedding": {"kind": value}}) == {"embedding": {"kind": value}}
    with pytest.raises(HeroError, match="'self_training' must be a table"):
        renamed({"unlabelled": {"rounds": 1}, "self_training": 5})


def test_flat_names() -> None:
    assert flat_with_new_names({"forward.goods": 3, "embedding.kind": "network", "batch": 4}) == {
        "forward.good_images_per_update": 3,
        "embedding.kind": "backbone",
        "batch": 4,
    }
