"""Rounds from end to end on a tiny pipeline: their order, and that a stop changes nothing."""

import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest
import torch
from stand_ins import BellModel
from tiny_runs import TASK, Script, go, left_behind, new_run, played, tiny_settings

from hero_engine.config import (
    DdpoSettings,
    EmbeddingSettings,
    ForwardSettings,
    NoiseSettings,
    RewardSettings,
    SamplerSettings,
    Settings,
)
from hero_engine.errors import HeroError, StopRequested
from hero_engine.evaluate import trained
from hero_engine.files import read_tensors
from hero_engine.journal import Journal, Mark
from hero_engine.labellers import Pictures, read_pictures
from hero_engine.learner import Learner
from hero_engine.pipeline import Model, open_model
from hero_engine.protocol import (
    Event,
    Finished,
    ImagesReady,
    PhaseStarted,
    Progress,
    RoundFinished,
)
from hero_engine.reporting import Deliver
from hero_engine.rundir import RunDir
from hero_engine.seeds import generator

Update = Literal["ddpo", "forward"]
UPDATES = ("ddpo", "forward")
LINES = ("*gbg.b", "bg*bbb")


@pytest.fixture(params=UPDATES)
def update(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(square_folder: Path, tmp_path: Path) -> Callable[..., RunDir]:
    """New runs, each in a folder of its own."""

    def make(name: str = "run", **changes: Any) -> RunDir:
        return new_run(tmp_path / name, tiny_settings(square_folder, **changes))

    return make


def test_a_run_end_to_end(make: Callable[..., RunDir], update: str) -> None:
    folder, events = make(update=update), list[Event]()
    _, finished = go(folder, Script(*LINES), tell=events.append)
    assert finished == Finished(str(folder.path), 2, 11, "budget")

    told = [event for event in events if not isinstance(event, Progress)]
    assert [type(event) for event in told] == [
        PhaseStarted,
        *[ImagesReady] * 2,
        *[PhaseStarted] * 2,
        RoundFinished,
    ] * 2
    phases = [(event.round, event.phase) for event in told if isinstance(event, PhaseStarted)]
    assert phases == [(r, p) for r in (0, 1) for p in ("sampling", "labelling", "training")]
    ready = [event for event in told if isinstance(event, ImagesReady)]
    assert [event.indices for event in ready] == [(0, 1, 2), (3, 4, 5)] * 2
    assert all(Path(path).is_file() for event in ready for path in event.paths)
    first, second = (event for event in told if isinstance(event, RoundFinished))
    assert (first.labels, first.good, first.unlabelled, first.labels_total) == (5, 3, 1, 5)
    assert (second.labels, second.good, second.unlabelled, second.labels_total) == (6, 2, 0, 11)
    assert first.updated and second.updated
    assert first.note == "1 without a label are left out" and second.note == ""
    assert (first.metrics["guided"], second.metrics["guided"]) == (0, 1)
    assert set(first.seconds) == {"sample", "embed", "update"}
    steps = [(event.step, event.done, event.total) for event in events if type(event) is Progress]
    assert {("sample", 6, 6), ("embed", 2, 2), ("update", 2, 2)} <= set(steps)

    kept = {path for path in left_behind(folder) if not path.startswith("checkpoints")}
    assert kept == {
        f"{path}" for r in (0, 1) for path in (f"rounds/r00{r}/latents.safetensors",)
    } | {f"images/r00{r}/00{image}.png" for r in (0, 1) for image in range(6)}
    assert latents(folder, 0).keys() == {"noises_B_C_H_W", "latents_B_C_H_W"}
    with Journal(folder.journal_path) as journal:
        assert journal.current() == (1, "done")
        assert [row["labels_total"] for row in journal.metrics()] == [5, 11]
    go(folder, Script(), tell=events.append)  # the budget is used: nothing more happens
    assert len([event for event in events if isinstance(event, RoundFinished)]) == 2


def test_the_round_in_which_the_budget_ends_is_finished(make: Callable[..., RunDir]) -> None:
    _, finished = go(make(update="forward", labels=7), Script("*gbbbb"))
    assert (finished.rounds, finished.labels, finished.reason) == (2, 12, "budget")


def test_rounds_go_before_the_budget_and_more_rounds_before_both(
    make: Callable[..., RunDir],
) -> None:
    folder = make(update="forward", labels=1, rounds=2)
    _, finished = go(folder, Script("*gbbbb"))
    assert (finished.rounds, finished.reason) == (2, "rounds")
    _, finished = go(folder, Script("*gbbbb"), more_rounds=1)
    assert (finished.rounds, finished.reason) == (3, "rounds")


# --- interrupted is uninterrupted


class Crash(BaseException):
    """Nobody catches it."""


def forget(event: Event) -> None:
    pass


class Process:
    """Opens and runs a run as often as a test likes, on one model whose LoRA it sets back."""

    def __init__(self, model: Model, folder: Callable[[str], RunDir]) -> None:
        self.model, self.folder = model, folder
        self.start = model.lora_state()

    def run(self, name: str, stop_at: int | None = None, tell: Deliver = forget) -> int:
        """Go on with a run; the `stop_at`-th question whether to stop is answered yes.

        Returns how many such questions there were.
        """
        asked = 0

        def check_stop() -> None:
            nonlocal asked
            asked += 1
            if asked == stop_at:
                raise StopRequested

        self.model.load_lora_state(self.start)
        folder = self.folder(name)
        learner = Learner(folder.settings, self.model)
        script = Script(*LINES, check_stop=check_stop)
        go(folder, script, tell=tell, check_stop=check_stop, learner=learner)
        return asked


@pytest.fixture(scope="module")
def processes(
    square_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Process]:
    """For each update; in the run "straight" nothing happens but what should."""
    root = tmp_path_factory.mktemp("interrupted")

    @cache
    def process(update: str) -> Process:
        settings = tiny_settings(square_folder, update=update)

        def folder(name: str) -> RunDir:
            path = root / update / name
            return RunDir.open(path) if path.exists() else new_run(path, settings)

        model = open_model(settings.model, settings.lora, "cpu", seed=settings.seed)
        made = Process(model, folder)
        assert made.run("straight") == QUESTIONS
        return made

    return process


QUESTIONS = 26
STOPS = (1, 5, 10, *range(14, QUESTIONS + 1))
"""A few in the first round, all in the second."""
PLACES = {
    "sample": "sampling",
    "label": "waiting for labels",
    "train_embedding": "embedding",
    "improve": "update",
    "_enter": "between phases",
}
stopped: dict[str, Counter[str]] = {update: Counter() for update in UPDATES}


@pytest.mark.parametrize("stop_at", STOPS)
def test_a_stop_at_any_instant_changes_nothing(
    processes: Callable[[str], Process], stop_at: int
) -> None:
    """Even instants with one update, odd ones with the other, to save time."""
    update, name = UPDATES[stop_at % 2], f"stop-{stop_at}"
    process = processes(update)
    with pytest.raises(StopRequested) as stop:
        process.run(name, stop_at)
    frames = [frame.name for frame in traceback.extract_tb(stop.tb)]
    stopped[update][next(PLACES[each] for each in reversed(frames) if each in PLACES)] += 1
    process.run(name)
    assert_same(process, name)


def test_those_were_stops_in_every_phase(update: str) -> None:
    if sum(map(Counter.total, stopped.values())) < len(STOPS):
        pytest.skip("only some of the stops were made")
    assert set(stopped[update]) == set(PLACES.values())


WRITES: list[tuple[Any, str, int]] = [
    (Journal, "set_phase", 4),  # of round 1: sampling
    (RunDir, "save_picture", 8),
    (RunDir, "save_part", 3),
    (Journal, "add_images", 3),
    (Journal, "mark", 2),
    (Journal, "submit", 2),
    (RunDir, "save_checkpoint", 1),
    (RunDir, "save_checkpoint", 2),
    (RunDir, "condense", 2),
    (Path, "unlink", 3),  # one of the two minibatches of round 1
    (Journal, "finish_round", 1),
    (Journal, "finish_round", 2),
]


@pytest.mark.parametrize(("owner", "write", "nth"), WRITES)
def test_a_crash_after_any_write_changes_nothing(
    processes: Callable[[str], Process],
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    write: str,
    nth: int,
) -> None:
    process, name = processes("ddpo"), f"{write}-{nth}"
    real, calls = getattr(owner, write), count(1)

    def crash(*args: Any, **options: Any) -> None:
        real(*args, **options)
        if next(calls) == nth:
            raise Crash

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(owner, write, crash)
        process.run(name)
    process.run(name)
    assert_same(process, name)


def test_a_crash_while_a_round_is_told_changes_nothing(
    processes: Callable[[str], Process], update: str
) -> None:
    def tell(event: Event) -> None:
        if isinstance(event, RoundFinished):
            raise Crash

    process = processes(update)
    for _ in range(2):
        with pytest.raises(Crash):
            process.run("told", tell=tell)
    process.run("told")
    assert_same(process, "told")


def test_only_missing_pictures_are_made_again(make: Callable[..., RunDir]) -> None:
    folder, script = make(update="forward", rounds=1), Script(*LINES)

    def stop(event: Event) -> None:
        if isinstance(event, ImagesReady):
            raise StopRequested

    with pytest.raises(StopRequested):
        go(folder, script, tell=stop)
    first = folder.picture_path(0, 0)
    before, events = first.stat().st_mtime_ns, list[Event]()
    go(folder, script, tell=events.append)
    assert first.stat().st_mtime_ns == before
    ready = [event.indices for event in events if isinstance(event, ImagesReady)]
    assert ready == [(0, 1, 2), (3, 4, 5)]  # who has just come is told of the old ones too
    progress = [event for event in events if isinstance(event, Progress)]
    assert min(event.done for event in progress if event.step == "sample") >= 3


def test_a_round_that_was_begun_is_finished_whatever_the_budget(
    make: Callable[..., RunDir],
) -> None:
    folder = make(update="forward", labels=5)

    def stop(event: Event) -> None:
        if event == PhaseStarted(1, "labelling"):
            raise StopRequested

    with pytest.raises(StopRequested):
        go(folder, Script(*LINES), tell=stop, more_rounds=2)
    _, finished = go(folder, Script(*LINES))
    assert (finished.rounds, finished.labels, finished.reason) == (2, 11, "budget")


def assert_same(process: Process, name: str) -> None:
    """Pictures and tensors byte by byte, labels and figures; the clock alone may differ."""
    straight, interrupted = process.folder("straight"), process.folder(name)
    assert left_behind(interrupted) == left_behind(straight)
    assert figures(interrupted) == figures(straight)


def figures(folder: RunDir) -> list[Any]:
    with Journal(folder.journal_path) as journal:
        labels = [journal.labels(round, 6) for round in range(len(LINES))]
        return [journal.current(), *labels, *({**row, "seconds": 0} for row in journal.metrics())]


def test_what_is_on_the_disk_is_what_was_learned(make: Callable[..., RunDir], update: str) -> None:
    folder = make(update=update)
    learner, _ = go(folder, Script(*LINES))
    again = trained(folder, "cpu")
    found = folder.load_checkpoint()
    assert found is not None
    for parts in (again.parts(), found[0]):
        for part, tensors in learner.parts().items():
            assert parts[part].keys() == tensors.keys()
            assert all(torch.equal(parts[part][name], each) for name, each in tensors.items())
    assert len(learner.parts()["optimizer"]) == 3 * len(learner.model.lora_parameters())


def test_a_lost_checkpoint_is_told(make: Callable[..., RunDir]) -> None:
    folder = make(update="forward")
    go(folder, Script(*LINES))
    for lost in ("r002", "r001"):
        shutil.rmtree(folder.path / "checkpoints" / lost)
        with pytest.raises(HeroError, match="checkpoint of round 1 is missing") as error:
            go(folder, Script(*LINES), more_rounds=1)
        assert error.value.exit_code == 4


@pytest.mark.parametrize("minibatch", [2, 4, 6])
def test_the_minibatch_changes_no_picture(make: Callable[..., RunDir], minibatch: int) -> None:
    """Rounding may: sums of other shapes differ in their last bits."""
    three, other = make("three", rounds=1), make("other", rounds=1, minibatch=minibatch)
    go(three, Script(*LINES))
    go(other, Script(*LINES))
    for image in range(6):
        pixels = [read_pictures({0: run.picture_path(0, image)}) for run in (three, other)]
        assert np.abs(np.subtract(*pixels, dtype=int)).max() <= 1
    one, two = latents(three, 0), latents(other, 0)
    assert torch.equal(one["noises_B_C_H_W"], two["noises_B_C_H_W"])
    assert torch.allclose(one["latents_B_C_H_W"], two["latents_B_C_H_W"], atol=1e-5)


# --- odd rounds are legal


def flat(learner: Learner) -> dict[str, torch.Tensor]:
    """All that was learned, by name."""
    parts = learner.parts().items()
    return {f"{part}.{name}": each for part, tensors in parts for name, each in tensors.items()}


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def latents(folder: RunDir, round: int) -> dict[str, torch.Tensor]:
    """A finished round's noises and latents."""
    return read_tensors(folder.path / f"rounds/r{round:03}/latents.safetensors")


def test_no_good_yet(make: Callable[..., RunDir], update: str) -> None:
    """The policy gradient has nothing to compare with; the forward update learns from the bad."""
    folder = make(update=update)
    before = Learner.open(folder.settings, "cpu")
    [report], learner = played(folder, "bbbbbb")
    assert report.good == 0 and report.labels == 6
    assert learner.best_C_H_W is None and not learner.prior.guided
    assert same(learner.embedding.state_dict(), before.embedding.state_dict())
    assert report.updated == (update == "forward")
    assert same(learner.model.lora_state(), before.model.lora_state()) != report.updated
    assert report.reward_mean is None and report.reward_std is None
    assert report.note == {
        "ddpo": "no good one; no update: no picture was ever good, "
        "so there is nothing to compare with",
        "forward": "no good one",
    }.get(update)


@pytest.mark.parametrize("line", ["*ggggg", "*bbbbb", "*....."])
def test_nothing_to_contrast(make: Callable[..., RunDir], update: str, line: str) -> None:
    """No bad, or no good but the best: the embedding stays, the rest goes on."""
    folder = make(update=update)
    before = Learner.open(folder.settings, "cpu")
    [report], learner = played(folder, line)
    assert same(learner.embedding.state_dict(), before.embedding.state_dict())
    assert "embed_loss_last" not in report.metrics and report.seconds["embed"] == 0
    assert report.updated and not same(learner.model.lora_state(), before.model.lora_state())
    assert report.note.endswith("nothing to contrast: the embedding was not trained")
    assert learner.prior.guided


def test_nothing_labelled(make: Callable[..., RunDir], update: str) -> None:
    """Before and after a round that taught something: all that was learned stays as it is."""
    folder = make(update=update)
    empty = flat(Learner.open(folder.settings, "cpu"))
    [first], learner = played(folder, "......")
    assert same(flat(learner), empty)
    _, learner = played(folder, "......", "*gbgbb")
    taught = flat(learner)
    [third], learner = played(folder, "......", "*gbgbb", "......")
    assert taught.keys() - flat(learner).keys() == {"prior.goods_N_C_H_W"}
    del taught["prior.goods_N_C_H_W"]
    assert same(flat(learner), taught)
    for report in (first, third):
        assert (report.labels, report.unlabelled, report.updated) == (0, 6, False)
        assert report.note == "6 without a label are left out; no update: nothing is labelled"
    assert third.labels_total == 6


def test_some_unlabelled(make: Callable[..., RunDir], update: str) -> None:
    """They count as no label, and are neither good nor bad; a reward they have all the same."""
    folder = make(update=update)
    [report], learner = played(folder, ".*g..b")
    assert (report.labels, report.good, report.unlabelled, report.labels_total) == (3, 2, 3, 3)
    assert report.updated and report.note == "3 without a label are left out"
    pictures = latents(folder, 0)["latents_B_C_H_W"]
    assert torch.equal(learner.memory.latents_N_C_H_W, pictures[[1, 2, 5]])
    assert learner.memory.good_N.tolist() == [True, True, False]
    with torch.no_grad():
        features = learner.embedding(pictures).numpy()
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    rewards = (features @ features[1] + 1) / 2
    assert report.reward_mean == pytest.approx(rewards.mean(), abs=1e-5)
    assert report.reward_std == pytest.approx(rewards.std(), abs=1e-5)
    assert report.metrics["reward_auc"] == np.mean(rewards[[1, 2]] > rewards[5])


def test_best_and_noises_carry_over(make: Callable[..., RunDir]) -> None:
    """Best stays until another is named; the goods' share is fresh where a round has none."""
    folder = make(update="forward", noise=NoiseSettings(perturbation=0.1))
    reports, learner = played(folder, "gb*bbb", "bbbbbb", "gbbbbb")
    assert [report.note for report in reports[:2]] == ["", "no good one; best stays"]
    rounds = [latents(folder, round) for round in range(3)]
    best_noise = rounds[0]["noises_B_C_H_W"][2]
    assert learner.best_C_H_W is not None
    assert torch.equal(learner.best_C_H_W, rounds[0]["latents_B_C_H_W"][2])

    fresh = [torch.randn(4, 8, 8, generator=generator(5, "noise", 2, image)) for image in range(6)]
    want = [0.99**0.5 * best_noise + 0.1 * noise for noise in fresh[:3]] + fresh[3:]
    assert torch.allclose(rounds[2]["noises_B_C_H_W"], torch.stack(want), atol=1e-6)
    assert learner.prior.best_C_H_W is not None and learner.prior.goods_N_C_H_W is not None
    assert torch.equal(learner.prior.best_C_H_W, best_noise)
    assert torch.equal(learner.prior.goods_N_C_H_W, rounds[2]["noises_B_C_H_W"][:1])


def test_goods_without_a_best(make: Callable[..., RunDir]) -> None:
    """Where none was ever named the good one that was marked first stands in, and says so."""
    folder = make(update="forward")
    [first, second], learner = played(folder, "bgbggb", "bbbgbb")
    assert first.note == "no best was named: the first good stands in"
    assert "first good" not in second.note
    assert learner.best_C_H_W is not None and learner.prior.best_C_H_W is not None
    assert torch.equal(learner.best_C_H_W, latents(folder, 0)["latents_B_C_H_W"][1])
    assert torch.equal(learner.prior.best_C_H_W, latents(folder, 0)["noises_B_C_H_W"][1])


def test_rewards_that_are_labels_need_two_kinds(make: Callable[..., RunDir]) -> None:
    folder = make(update="ddpo", reward=RewardSettings("labels"))
    reports, _ = played(folder, "gggggg", "ggbbb.")
    assert [report.updated for report in reports] == [False, True]
    assert "no update: all pictures have the same reward" in reports[0].note
    assert [report.reward_mean for report in reports] == [1, pytest.approx(0.4)]


# --- it learns


class Bell(BellModel):
    """`BellModel` as the loop wants it: latents of one number, pictures whose grey says it."""

    latent_shape = (1, 1, 1)

    def __init__(self) -> None:
        super().__init__()
        self.dtype = torch.float32

    def predict(self, latents: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        """In single precision, as the embedding's."""
        return super().predict(latents, *args, **options).to(latents.dtype)

    def decode(self, latents_B_C_H_W: torch.Tensor) -> Any:
        """-1 is black, 2 is white."""
        grey = ((latents_B_C_H_W + 1) * 85).round().clamp(0, 255).to(torch.uint8)
        return grey.permute(0, 2, 3, 1).expand(-1, 4, 4, 3).numpy()

    def lora_state(self) -> dict[str, torch.Tensor]:
        """m."""
        return {"m": self.offset.detach().clone()}


class LikesOne:
    """Good is the quarter nearest to 1; best is the nearest."""

    def __init__(self) -> None:
        self.distances: list[float] = []

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """All of them."""
        distance = np.abs(read_pictures(pictures)[:, 0, 0, 0] / 85 - 2)
        self.distances.append(float(distance.mean()))
        good = distance <= np.quantile(distance, 0.25)
        marks = [Mark(image, "good" if good[image] else "bad") for image in pictures]
        marks.append(Mark(int(distance.argmin()), "best"))
        journal.mark(round, marks, source="rule")
        journal.submit(round)


@pytest.mark.parametrize(("update", "rounds"), [("ddpo", 20), ("forward", 10)])
def test_the_loop_finds_a_known_optimum(tmp_path: Path, update: Update, rounds: int) -> None:
    """Pictures are a bell around m = 0 at first; the wish is 1. All noises are fresh.

    The policy gradient makes one step a round: a second one would be many bells off its policy.
    """
    settings = Settings(
        task=TASK.name,
        prompt=TASK.prompt,
        update=update,
        batch=64,
        minibatch=64,
        rounds=rounds,
        seed=2,
        sampler=SamplerSettings(steps=4, guidance=1.0),
        noise=NoiseSettings(fresh_share=1.0),
        embedding=EmbeddingSettings(
            channels=(16,), features=128, head=(32,), learning_rate=3e-3, epochs=40
        ),
        ddpo=DdpoSettings(
            learning_rate=0.07,
            betas=(0.8, 0.9),
            images_per_update=64,
            minibatch=64,
            clip_range=0.3,
        ),
        forward=ForwardSettings(learning_rate=0.02, reference="round", history="round", steps=20),
    )
    labeller, model = LikesOne(), Bell()
    learner = Learner(settings, cast(Model, model))
    go(new_run(tmp_path / "bell", settings), labeller, learner=learner)
    assert labeller.distances[0] > 0.9
    assert labeller.distances[-1] < 0.4
    assert float(model.offset.detach()) == pytest.approx(1, abs=0.35)
