"""The presets' numbers, their TOML form, and every bad value refused in one line."""

from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any

import pytest
from refusals import refused

from hero_engine.config.layers import merged
from hero_engine.config.presets import (
    NAMES,
    PAPER_MODEL,
    embedded,
    from_preset,
    paper,
    preset_layers,
)
from hero_engine.config.settings import (
    RewardSettings,
    SamplerSettings,
    Settings,
    from_toml,
    to_toml,
    with_changes,
)
from hero_engine.config.update_settings import DdpoSettings
from hero_engine.core.errors import ExitCode, HeroError


def test_paper_is_the_official_code() -> None:
    """Number by number; the rest of the settings are ours."""
    got = paper()
    assert (got.model, got.preset) == ("stable-diffusion-v1-5/stable-diffusion-v1-5", "paper")
    assert (got.update, got.batch, got.labels) == ("ddpo", 64, 512)
    assert asdict(got.sampler) == {
        "steps": 50,
        "eta": 1.0,
        "guidance": 5.0,
        "negative_prompt": "",
        "image": (),
        "height": 0,
        "width": 0,
    }
    assert asdict(got.lora) == {
        "rank": 4,
        "alpha": 4,
        "targets": ("to_q", "to_k", "to_v", "to_out.0"),
        "block": "",
        "init": "",
    }
    assert asdict(got.noise) == {"best_image_ratio": 0.5, "perturbation": 0.1, "fresh_ratio": 0.0}
    assert asdict(got.embedding) == {
        "kind": "triplet",
        "channels": (8, 16, 32),
        "features": 2048,
        "head": (2048, 1024, 512),
        "margin": 0.5,
        "learning_rate": 1e-5,
        "epochs": 500,
        "history": "round",
        "recency_half_life": 0.0,
    }
    assert got.reward.kind == "best"
    assert asdict(got.ddpo) == {
        "learning_rate": 1e-3,
        "steps_per_image": 5,
        "window": (0.0, 1.0),
        "clip_range": 1e-4,
        "advantage_clip": 5.0,
        "inner_epochs": 1,
        "decay_learning_rate": False,
        "weight_average": 0.0,
        "ratio_precision": "float32",  # the network itself is trained in float32 there
        "microbatch": 2,
        "auto_microbatch": True,  # ours: up to images_per_update, the same gradient
        "images_per_update": 8,
        "betas": (0.9, 0.999),
        "weight_decay": 1e-4,
        "adam_epsilon": 1e-8,
        "max_grad_norm": 1.0,
    }
    assert got.batch // got.ddpo.images_per_update == 8  # optimizer steps a round


def test_the_defaults_are_the_papers_but_for_the_model() -> None:
    assert Settings(model=PAPER_MODEL) == paper() and Settings().model == "embedded"


def test_a_preset_is_whole_whatever_its_name() -> None:
    """Preset large takes its values from the size of the network, over those of its kind."""
    kind = {"sampler": {"steps": 28, "height": 1024}}
    large = merged(preset_layers("large", model="mine", kind=kind))
    assert (large["batch"], large["sampler"]["steps"], large["sampler"]["height"]) == (16, 28, 768)
    assert merged(preset_layers("large", model="mine", parameters=6e9))["batch"] == 8
    embedded = merged(preset_layers("embedded", model="embedded", kind=kind))
    assert embedded["sampler"]["steps"] == 20


@pytest.mark.parametrize("preset", NAMES)
def test_a_preset_knows_its_name_and_takes_changes(preset: str) -> None:
    got = from_preset(preset, task="hands", batch=8)
    assert (got.preset, got.task, got.batch) == (preset, "hands", 8)


@pytest.mark.parametrize(
    "settings",
    [
        paper(),
        embedded(),
        paper(prompt='a "cat"\n\\ \u00e9\u4e2d\U0001f431', ddpo=DdpoSettings(clip_range=3e-7)),
    ],
)
def test_settings_survive_toml(settings: Settings) -> None:
    assert from_toml(to_toml(settings)) == settings


def test_missing_toml_keys_take_their_defaults() -> None:
    assert from_toml("") == Settings()
    got = from_toml("batch = 8\n[ddpo]\nclip_range = 0.5")
    assert got == Settings(batch=8, ddpo=DdpoSettings(clip_range=0.5))


def test_a_whole_number_is_also_a_number() -> None:
    guidance = from_toml("sampler.guidance = 7").sampler.guidance
    assert (guidance, type(guidance)) == (7.0, float)
    guidance = with_changes(paper(), {"sampler": {"guidance": 3}}).sampler.guidance
    assert (guidance, type(guidance)) == (3.0, float)


def test_changes_merge_into_what_is_there() -> None:
    before = embedded(prompt="1 hand")
    after = with_changes(before, {"batch": 8, "sampler": {"steps": 4}, "lora": {"targets": ["ff"]}})
    assert (after.batch, after.prompt, after.model) == (8, "1 hand", "embedded")
    assert after.sampler == replace(before.sampler, steps=4)
    assert after.sampler.eta != SamplerSettings().eta  # the preset's, not the default
    assert (after.lora.targets, after.lora.rank) == (("ff",), 16)
    assert with_changes(before, {}) == before
    assert before.batch == 64


BAD: list[tuple[str, Any, str]] = [
    ("batch", 0, "a whole number from 1 to 4096"),
    ("batch", 4097, "a whole number from 1 to 4096"),
    ("batch", 8.0, "a whole number"),
    ("batch", "8", "a whole number"),
    ("batch", True, "a whole number"),
    ("batch", [8], "a whole number"),
    ("batch", {"size": 8}, "a whole number"),
    ("seed", -1, "a whole number from 0 to 2147483647"),
    ("seed", 2**31, "a whole number from 0 to 2147483647"),
    ("prompt", 5, "text"),
    ("task", ["hands"], "text"),
    ("update", "dpo", "one of ddpo, forward, d3po, sft"),
    ("update", ["ddpo"], "one of ddpo, forward, d3po, sft"),
    ("sampler.eta", 1.01, "a number from 0 to 1"),
    ("sampler.eta", -0.01, "a number from 0 to 1"),
    ("sampler.eta", float("nan"), "a number from 0 to 1"),
    ("sampler.guidance", float("inf"), "a number from 0 to 100"),
    ("sampler.guidance", "strong", "a number from 0 to 100"),
    ("ddpo.learning_rate", 0, "a number above 0 to 1"),
    ("ddpo.clip_range", 0.0, "a number above 0 to 1"),
    ("lora.targets", [], "a list of strings"),
    ("lora.targets", "to_q", "a list of strings"),
    ("lora.targets", ["to_q", 5], "a list of strings"),
    ("embedding.channels", [], "a list of numbers"),
    ("embedding.channels", [8, 16.0], "a list of numbers"),
    ("embedding.channels", [8, True], "a list of numbers"),
    ("embedding.channels", [8, 0], "numbers of at least 1"),
    ("embedding.head", [-1], "numbers of at least 1"),
    ("ddpo.betas", [0.9], "a list of numbers"),
    ("ddpo.betas", [0.9, 0.99, 0.999], "a list of numbers"),
    ("ddpo.betas", [0.9, False], "a list of numbers"),
    ("ddpo.betas", [0.9, 1.5], "numbers from 0 to 1"),
    ("forward.timesteps", [float("nan"), 1.0], "numbers from 0 to 1"),
    ("forward.old_policy", "best", "one of base, round"),
    ("embedding.history", "none", "one of round, all"),
    ("reward.kind", "", "one of best, positives, labels"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), BAD)
def test_a_bad_value_is_refused_with_its_name_and_range(
    name: str, value: Any, allowed: str
) -> None:
    part, _, leaf = name.rpartition(".")
    shown = tuple(value) if isinstance(value, list) else value
    said = "" if isinstance(value, float | int) else repr(shown)  # 0 has become 0.0
    with refused(ExitCode.USAGE, allowed, said, start=f"setting {name} is "):
        with_changes(paper(), {part: {leaf: value}} if part else {leaf: value})


def limits() -> list[tuple[str, float, float, bool]]:
    """Every number with a range: where it is, the range's ends, and whether the low end is out."""
    found = []
    for each in fields(Settings):
        part = getattr(Settings(), each.name)
        prefix, inside = (f"{each.name}.", fields(part)) if is_dataclass(part) else ("", (each,))
        found += [
            (prefix + leaf.name, m["low"], m["high"], m["above"])
            for leaf in inside
            if "low" in (m := leaf.metadata)
        ]
    return found


@pytest.mark.parametrize(("name", "low", "high", "above"), limits())
def test_both_ends_of_every_range_hold(name: str, low: float, high: float, above: bool) -> None:
    part, _, leaf = name.rpartition(".")

    def change(value: float) -> Settings:
        able = paper(update="forward", reward=RewardSettings(kind="probability"))
        return with_changes(able, {part: {leaf: value}} if part else {leaf: value})

    for value in (low, high):
        if not (above and value == low):
            held: Any = getattr(change(value), part) if part else change(value)
            assert getattr(held, leaf) == value
    for value in (low if above else low - 1, high + 1):
        with pytest.raises(HeroError, match=f"setting {name} "):
            change(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batches = 8", "unknown setting 'batches'; did you mean 'batch'?"),
        ("[ddpo]\nclip = 1", "unknown setting 'ddpo.clip'; did you mean 'ddpo.clip_range'?"),
        ("[sampler.noise]\na = 1", "unknown setting 'sampler.noise'"),
        ("ddpo = 5", "setting 'ddpo' must be a table, not 5"),
        ("batch = = 8", "the settings are not valid TOML: "),
    ],
)
def test_unknown_keys_and_broken_toml_are_refused(text: str, said: str) -> None:
    with refused(ExitCode.USAGE, said):
        from_toml(text)


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        paper().batch = 8  # type: ignore[misc]
