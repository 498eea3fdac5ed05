"""Each method is the settings its paper names, over the preset; methods as they are typed."""

from dataclasses import asdict
from typing import Any

import pytest
from refusals import refused

from hero_engine.config.settings import Settings
from hero_engine.config.tasks import load_task, settings_for
from hero_engine.config.validation import flat
from hero_engine.core.errors import ExitCode
from hero_engine.study.methods import ABLATIONS, ALIASES, METHODS, parse_method, parse_methods


def settings(name: str, preset: str = "paper") -> Settings:
    return settings_for(load_task("hands"), "embedded", preset, parse_method(name).changes)


def differs(name: str, other: str) -> dict[str, Any]:
    """What the first sets otherwise than the second, under the paper's preset."""
    one, two = flat(asdict(settings(name))), flat(asdict(settings(other)))
    return {key: one[key] for key in one if one[key] != two[key]}


def test_hero_is_the_papers_preset() -> None:
    assert settings("hero") == settings_for(load_task("hands"), "embedded", "paper")
    embedded = settings("hero", "embedded")
    assert (embedded.update, embedded.reward.kind, embedded.noise.fresh_ratio) == (
        "ddpo",
        "best",
        0,
    )
    assert (embedded.noise.best_image_ratio, embedded.noise.perturbation) == (0.5, 0.1)


def test_forward_is_the_embedded_preset() -> None:
    want = settings_for(load_task("hands"), "embedded", "embedded")
    assert settings("hero-forward", "embedded") == want and want.update == "forward"


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("hero-labels", {"reward.kind": "labels", "embedding.epochs": 0}),
        ("hero-positives", {"reward.kind": "positives"}),
        ("hero-fresh", {"noise.fresh_ratio": 1.0}),
        ("hero-beta-0", {"noise.best_image_ratio": 0.0}),
        ("hero-beta-1", {"noise.best_image_ratio": 1.0}),
        ("hero-eps-0.05", {"noise.perturbation": 0.05}),
        ("hero-eps-0.3", {"noise.perturbation": 0.3}),
        ("hero-probability", {"reward.kind": "probability"}),
        ("hero-recent", {"embedding.history": "all", "embedding.recency_half_life": 64.0}),
    ],
)
def test_a_variant_changes_one_thing(name: str, changed: dict[str, Any]) -> None:
    assert differs(name, "hero") == changed


@pytest.mark.parametrize("name", ["ddpo", "d3po", "sft"])
def test_baselines_have_neither_embedding_nor_guided_noise(name: str) -> None:
    plain = {"reward.kind": "labels", "embedding.epochs": 0, "noise.fresh_ratio": 1.0}
    update = {} if name == "ddpo" else {"update": name}
    update |= {"d3po.images_per_noise": 1} if name == "d3po" else {}
    assert differs(name, "hero") == plain | update


def test_methods_share_all_else() -> None:
    """Where the preset does not depend on the update; the embedded one has two ways of sampling."""
    both = [settings(name) for name in METHODS]
    names = ("sampler", "lora", "batch", "labels", "seed", "prompt", "ddpo")
    assert all(len({getattr(each, name) for each in both}) == 1 for name in names)
    usual = settings("hero").forward
    changed = {name for name in METHODS if settings(name).forward != usual}
    assert changed == {"hero+", "joint"}
    for name in changed:
        ours = asdict(settings(name).forward)
        assert asdict(usual) | METHODS[name].changes["forward"] == ours
    ours = [settings(name, "embedded") for name in METHODS]
    stepwise = ("ddpo", "d3po")
    assert len({(each.update in stepwise, each.sampler, each.lora) for each in ours}) == 2


def test_methods_are_parsed() -> None:
    [hero, ddpo, d3po] = parse_methods("hero,ddpo@2048,d3po:d3po.learning_rate=1e-3@64")
    assert (hero.name, hero.labels) == ("hero", None)
    assert (ddpo.name, ddpo.labels) == ("ddpo", 2048)
    assert (d3po.name, d3po.labels) == ("d3po:d3po.learning_rate=1e-3", 64)
    assert d3po.changes["d3po"] == {"images_per_noise": 1, "learning_rate": 1e-3}
    assert d3po.changes["update"] == "d3po"
    assert parse_method('sft:lora.targets=["conv"]').changes["lora"] == {"targets": ["conv"]}
    assert parse_method("sft:sft.history=round").changes["sft"] == {"history": "round"}
    both = parse_methods("ddpo:ddpo.window=[0.0,0.5]:ddpo.microbatch=4,sft")
    assert both[0].changes["ddpo"] == {"window": [0.0, 0.5], "microbatch": 4} and len(both) == 2
    assert parse_method("hero:noise.best_share=0").name == "hero:noise.best_image_ratio=0"
    assert METHODS["d3po"].changes["d3po"] == {"images_per_noise": 1}  # not changed in place


def test_ablations_and_aliases() -> None:
    assert [each.name for each in parse_methods("ablations,sft")] == [*ABLATIONS, "sft"]
    assert {parse_method(name).name for name in ALIASES} == {"hero"}
    assert [each.name for each in parse_methods("hero,hero-eps-0.1,hero")] == ["hero"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hreo", "no method is called 'hreo'; did you mean 'hero'?"),
        ("", "no method is called ''"),
        ("ddpo@", "after @ write a number of labels"),
        ("ddpo@0", "after @ write a number of labels"),
        ("ddpo@many", "after @ write a number of labels"),
        ("ddpo:seed", "method setting 'seed': write KEY=VALUE"),
    ],
)
def test_unknown_methods_are_refused(text: str, said: str) -> None:
    with refused(ExitCode.USAGE, said):
        parse_methods(text)
