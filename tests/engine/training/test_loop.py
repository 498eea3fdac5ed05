"""Algorithm 1 without a folder: the order of its steps, and the same bits as a run on the disk."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from interrupted import AHEAD
from tiny_runs import LINES, VALUES, Script, go

from hero_engine.core.batch import Batch
from hero_engine.core.labels import Labels, Mark, RoundMarks
from hero_engine.policy.policy_snapshot import PolicySnapshot
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.loop import train
from hero_engine.training.oom_backoff import OomBackoff
from hero_engine.training.progress_reports import StepProgress
from hero_engine.training.round_report import Outcome
from hero_engine.training.state import State
from hero_engine.training.steps import LearningSteps
from hero_engine.training.trainer import Trainer


class NoBackoff(OomBackoff):
    """Memory is ample, and no journal is needed."""

    def __init__(self) -> None:
        pass

    def run(self, step: str, wanted: int, attempt: Any, save_memory: Any = None) -> Any:
        return attempt(wanted)


class InMemory:
    """`Rounds` that leave nothing behind; `log` is what was asked of them, in order."""

    def __init__(self, trainer: Trainer, rounds: int) -> None:
        self.trainer, self.rounds, self.log = trainer, rounds, list[Any]()
        self.drawn: dict[int, Batch] = {}

    def why_over(self, state: State) -> str:
        return "rounds" if state.round >= self.rounds else ""

    def is_next_sampled_ahead(self, state: State) -> bool:
        return self.trainer.settings.sample_ahead and state.round + 1 < self.rounds

    def sample(self, round: int, policy: PolicySnapshot) -> Batch:
        self.log.append(("sample", round))
        if round not in self.drawn:
            request = self.trainer.round_request(round, policy.priors)
            microbatch = self.trainer.settings.microbatch
            self.drawn[round] = self.trainer.sample(policy.lora, request, microbatch)[0]
        return self.drawn[round]

    def imported(self, state: State) -> None:
        return None

    def label(self, state: State) -> Labels:
        self.log.append(("label", state.round))
        line = LINES[min(state.round, len(LINES) - 1)]
        marks = [Mark(image, VALUES[sign]) for image, sign in enumerate(line) if sign != "."]
        return RoundMarks.replayed(len(line), marks).labels({0} - state.bests.keys())

    def finish(self, state: State, outcome: Outcome) -> None:
        self.log.append(("finish", outcome.round.number, state.round, state.labels_used))


def trained_in_memory(folder: RunDir, rounds: int) -> tuple[State, InMemory]:
    trainer = Trainer.open(folder.settings, "cpu")
    progress = StepProgress(lambda event: None, lambda: None)
    steps, memory = LearningSteps(trainer, NoBackoff(), progress), InMemory(trainer, rounds)
    return train(memory, steps, trainer.initial_state()), memory


@pytest.mark.parametrize("ahead", [False, True])
def test_in_memory_it_learns_the_same_bits_as_on_the_disk(
    make_run: Callable[..., RunDir], update: str, ahead: bool
) -> None:
    folder = make_run(update=update, **(AHEAD if ahead else {}))
    state, finished = go(folder, Script(*LINES))
    alone, _ = trained_in_memory(folder, finished.rounds)
    assert (alone.round, alone.labels_used) == (state.round, state.labels_used)
    for part, tensors in state.parts().items():
        others = alone.parts()[part]
        assert tensors.keys() == others.keys()
        assert all(torch.equal(others[name], each) for name, each in tensors.items())


def test_the_order_of_steps(make_run: Callable[..., RunDir]) -> None:
    _, memory = trained_in_memory(make_run(update="forward"), 2)
    assert memory.log == [
        *(("sample", 0), ("label", 0), ("finish", 0, 1, 5)),
        *(("sample", 1), ("label", 1), ("finish", 1, 2, 11)),
    ]


def test_the_order_of_steps_with_rounds_sampled_ahead(make_run: Callable[..., RunDir]) -> None:
    _, memory = trained_in_memory(make_run(update="forward", **AHEAD), 3)
    assert memory.log == [
        *(("sample", 0), ("sample", 1), ("label", 0), ("finish", 0, 1, 5)),
        *(("sample", 1), ("sample", 2), ("label", 1), ("finish", 1, 2, 11)),
        *(("sample", 2), ("label", 2), ("finish", 2, 3, 17)),
    ]
