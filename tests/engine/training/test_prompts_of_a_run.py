"""Many prompts a run: each is a group of its own, and one prompt is a list of one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import figures
from tiny_runs import PLUS, latents, left_behind, played

from hero_engine.core.batch import Batch
from hero_engine.core.labelled_round import LabelledLatents, LabelledRound
from hero_engine.core.labels import Labels
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.grouped_conditioning import GroupedConditioning
from hero_engine.models.pipeline import Model
from hero_engine.policy.noise_prior import FRESH
from hero_engine.reward.rewards import advantages, group_advantages
from hero_engine.storage.add_prompts import add_prompts
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.state import State
from hero_engine.updates.label_pool import Pool
from hero_engine.updates.lessons import UpdateId
from hero_engine.updates.noising import RowSampler
from hero_tui.commands.inspect_runs import status

PROMPTS = {"prompts": ("a", "a hand", "a cup")}
LINES = ("*bgb*b", "b*bbg*")
"""Two rounds of two images a prompt, in the order of the prompts."""


def test_each_row_is_predicted_with_its_own_prompt(square: Model) -> None:
    prompts, group_R = ("a", "a hand", "a cup"), torch.tensor([2, 0, 1, 2, 0])
    x = torch.randn(5, *square.latent_shape, generator=torch.Generator().manual_seed(1))
    timesteps = torch.tensor([900, 700, 500, 300, 100])
    with torch.no_grad():
        together = GroupedConditioning.plain(prompts).predict(square, x, timesteps, group_R)
        for row, group in enumerate(group_R.tolist()):
            alone = square.predict(
                x[row : row + 1], timesteps[row : row + 1], Conditioning(prompts[group])
            )
            assert torch.allclose(together[row], alone[0], atol=1e-5)
        first = square.predict(x, timesteps, Conditioning("a"))
        assert torch.equal(GroupedConditioning.plain(prompts).predict(square, x, timesteps), first)


def test_a_group_is_compared_with_itself() -> None:
    rewards, groups = torch.tensor([0.9, 0.1, 0.8, 0.5, 0.2]), torch.tensor([0, 1, 0, 1, 1])
    found = group_advantages(rewards, groups)
    for group in (0, 1):
        assert torch.equal(found[groups == group], advantages(rewards[groups == group]))


def test_good_and_bad_images_of_a_step_come_from_each_taught_prompt_alike(square: Model) -> None:
    """Prompt 0 has nearly all the goods, prompt 1 nearly all the bads, prompt 2 no good one."""
    goods, bads = [9, 1, 0], [1, 9, 5]
    groups = torch.tensor([g for g in range(3) for _ in range(goods[g] + bads[g])])
    probability = torch.tensor(
        [1.0 - (i >= goods[g]) for g in range(3) for i in range(goods[g] + bads[g])]
    )
    latents = torch.zeros(len(groups), *square.latent_shape)
    pool = Pool.of(latents, probability.double(), groups=groups)
    rows = RowSampler(square, 6, 8).draw(pool, UpdateId(0, 0), 3)
    assert rows.groups is not None
    drawn = [
        rows.groups[rows.good_R.cpu() == good].bincount(minlength=3).tolist() for good in (1, 0)
    ]
    assert drawn == [[3, 3, 0], [4, 4, 0]]


def test_best_and_noises_are_kept_for_each_prompt() -> None:
    shape = (1, 2, 2)
    noises = torch.randn(6, *shape, generator=torch.Generator().manual_seed(2))
    batch = Batch(noises, noises + 1, groups=torch.tensor([0, 0, 1, 1, 1, 2]))
    labels = Labels((True, False, True, True, True, False), bests=(0, 3))
    state = State(0, 0, {}, {}, {}, LabelledLatents.none(shape))
    round = LabelledRound(0, batch, labels)
    state = state.with_labels(round).next_round(round, None)
    assert {group: best.noise_C_H_W.tolist() for group, best in state.bests.items()} == {
        0: noises[0].tolist(),
        1: noises[3].tolist(),
    }
    assert torch.equal(state.good_noises[1], noises[[2, 4]]) and {*state.good_noises} == {1}
    assert state.priors.of(2) == FRESH
    again = State.from_parts(state.parts(), 1, 6)
    assert {*again.bests} == {0, 1} and torch.equal(again.good_noises[1], noises[[2, 4]])
    assert again.memory.group_ids.tolist() == [0, 0, 1, 1, 1, 2]
    absent = LabelledRound(1, Batch(noises[:2], noises[:2]), Labels((False, False)))
    later = state.with_labels(absent).next_round(absent, None)
    assert torch.equal(later.good_noises[1], noises[[2, 4]]), (
        "a prompt without images keeps its own"
    )


@pytest.mark.parametrize(
    ("update", "more"),
    [("ddpo", {}), ("forward", PLUS), ("d3po", {}), ("sft", {"prompt_order": "mixed"})],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_of_many_prompts_learns_and_reports_each(
    make_run: Callable[..., RunDir],
    update: str,
    more: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = make_run(update=update, **PROMPTS, **more)
    reports, state = played(folder, *LINES)
    assert all(each.updated for each in reports)
    assert [each["prompt"] for each in reports[0].prompts] == list(PROMPTS["prompts"])
    assert sum(each["good"] for each in reports[1].prompts) == reports[1].good
    assert all(each["diversity"] > 0 for each in reports[0].prompts)
    status(str(folder.path), as_json=False)
    table = capsys.readouterr().out.splitlines()[-3:]
    assert [line.split(maxsplit=3)[3] for line in table] == list(PROMPTS["prompts"])
    shares = [f"{each.prompts[0]['good'] / 2:.0%}" for each in reports]
    assert table[0].split()[:3] == ["4", *shares]
    groups = latents(folder, 1)["groups_B"].tolist()
    assert tuple(groups) == folder.groups(1)
    assert set(state.bests) <= {0, 1, 2} and len(state.bests) > 1


def test_an_added_prompt_is_drawn_from_the_next_round_and_a_resume_repeats_it(
    make_run: Callable[..., RunDir], tmp_path: Path
) -> None:
    whole, broken = (make_run(name, update="forward", labels=30) for name in ("whole", "broken"))
    for folder in (whole, broken):
        played(folder, LINES[0])
    before = left_behind(whole)
    added = [add_prompts(RunDir.open(each.path), ["a hand"]) for each in (whole, broken)]
    assert added[0].settings.plan.active(0) == (0,) and added[0].settings.plan.active(1) == (0, 1)
    lines = (LINES[0], "*bbg*b", "b*bb*g")
    played(RunDir.open(whole.path), *lines)
    for count in (2, 3):
        played(RunDir.open(broken.path), *lines[:count])
    assert left_behind(RunDir.open(broken.path)) == left_behind(RunDir.open(whole.path))
    assert figures(added[0]) == figures(added[1])
    kept = left_behind(whole)
    assert all(kept[name] == data for name, data in before.items() if name.startswith("images"))
    assert latents(whole, 1)["groups_B"].tolist() == [0, 0, 0, 1, 1, 1]


def test_a_round_of_a_single_prompt_writes_no_groups(make_run: Callable[..., RunDir]) -> None:
    folder = make_run(update="forward")
    reports, state = played(folder, LINES[0])
    assert reports[0].prompts == () and state.memory.groups is None
    assert "groups_B" not in latents(folder, 0)
    assert {*state.parts()["prior"]} == {"best_C_H_W", "goods_N_C_H_W"}
