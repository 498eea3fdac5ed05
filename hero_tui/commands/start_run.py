"""`hero run` and `hero resume`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hero_engine.config.old_names import renamed
from hero_engine.config.settings import LoraSettings, Settings
from hero_engine.config.tasks import Task
from hero_engine.config.validation import merge
from hero_engine.core.errors import Damaged, ExitCode, HeroError
from hero_engine.core.numbering import counted, round_name
from hero_engine.core.xdg import private
from hero_engine.distributed.launcher import Launched, check_processes
from hero_engine.labelling.judge_source import JudgeSource, is_own_judge, read_judge_source
from hero_engine.labelling.simulated import is_judge
from hero_engine.models.known_configurations import is_configuration
from hero_engine.models.model_sources import model_facts
from hero_engine.storage.add_prompts import add_prompts, with_prompts
from hero_engine.storage.branch_run import branch
from hero_engine.storage.foreign_pictures import keep_inputs, opened
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir, new_run_path
from hero_tui.commands.find_run import open_run
from hero_tui.commands.name_task import MorePrompts, cannot_draw, draws, task_of
from hero_tui.output_streams import data, talk, talk_once
from hero_tui.preferences.settings_sources import choose, layers, nested, parsed, use_runs_folder

if TYPE_CHECKING:
    from hero_engine.models.initial_lora import FirstLora


@dataclass(frozen=True)
class Way:
    """How a run is executed: in the app, or headless with a source of labels.

    force: use labels that were given for other images. max_seconds, max_rounds: stop then, before
    the end. processes: how many share the work, this one included.
    """

    graphics: str | None = None
    headless: bool = False
    labels: str | None = None
    force: bool = False
    max_seconds: float | None = None
    max_rounds: int | None = None
    processes: int = 1

    @property
    def judge(self) -> JudgeSource | None:
        """The judge of one's own that `labels` names, if it does. HeroError where it is wrong."""
        own = self.labels is not None and is_own_judge(self.labels)
        return read_judge_source(str(self.labels)) if own else None

    def check(self) -> None:
        """HeroError for options that exclude each other."""
        from hero_tui.graphics.choose_painter import MODES

        if self.graphics is not None and self.graphics not in MODES:
            raise HeroError(f"--graphics {self.graphics}: choose one of {', '.join(MODES)}")
        judged = is_judge(str(self.labels)) or self.judge is not None
        if self.force and (self.labels in (None, "none") or judged):
            raise HeroError("--force goes with --labels FILE.jsonl")
        check_processes(self.processes)
        if self.headless:
            return
        if self.labels is not None and self.judge is None:
            raise HeroError(
                "--labels goes with --headless: in the app you label. A judge of your own "
                "(python:MODULE:FUNCTION, command:PROGRAM) gives suggestions there"
            )
        if self.max_seconds is not None or self.max_rounds is not None:
            raise HeroError("--max-seconds and --max-rounds go with --headless")


@private()
def new_run(
    flags: dict[str, Any],
    *,
    folder: Path | None,
    way: Way,
    good: str | None = None,
    more: MorePrompts = MorePrompts(),  # noqa: B008 - frozen
) -> int:
    """Start a run; returns the exit code. A run whose model cannot be opened leaves no folder.

    good: what counts as good, if flags["task"] is a prompt. more: prompts beside the task's.
    """
    if (code := followed()) is not None:
        return code
    way.check()
    use_runs_folder()
    named = task_of(flags.get("task"), good, more)
    if good is not None and named is None:
        raise HeroError('--good goes with a prompt: hero run "a red bicycle" --good "two wheels"')
    task, settings = choose(layers(), flags, named)
    settings = with_pictures(settings)
    if is_configuration(settings.model):
        raise HeroError(f"{settings.model} has random weights: it is for hero bench speed")
    model_facts(settings.model, settings.model_config)
    if warning := prompt_warning(settings):
        talk(warning)
    go = prepare(way, task, settings)
    first = first_lora(settings, flags) if settings.lora.init else None
    settings = first.settings if first else settings
    run = RunDir.create(folder or new_run_path(task.name), settings, task)
    if first:
        first.save(run)
    keep_inputs(run.path, settings.sampler.image)
    code = go(run, None)
    if code in (ExitCode.USAGE, ExitCode.ENVIRONMENT) and run.status().get("phase") is None:
        shutil.rmtree(run.path, ignore_errors=True)
    return code


def prompt_warning(settings: Settings) -> str:
    """A line if the embedded model cannot draw the prompt, else nothing."""
    prompts = settings.plan.prompts if settings.model == "embedded" else ()
    unknown = next((prompt for prompt in prompts if not draws(prompt)), None)
    return "" if unknown is None else cannot_draw(unknown)


def one_task(what: str | None, task: str | None) -> str | None:
    """The task of `hero run TASK` or `hero run --task TASK`."""
    if what is not None and task is not None:
        raise HeroError(f"two tasks are given, {what!r} and --task {task}: leave one out")
    return what if task is None else task


def followed() -> int | None:
    """The exit code of a rank above 0, if a launcher started this command once for each rank.

    None on rank 0, and without a launcher.
    """
    launched = Launched.from_environment()
    if launched is None or launched.rank == 0:
        return None
    from hero_engine.runtime.rank_process import work

    work()
    return ExitCode.DONE


def first_lora(settings: Settings, flags: dict[str, Any]) -> FirstLora:
    """The LoRA that the run starts from. HeroError if it does not fit the model."""
    from hero_engine.models.initial_lora import FirstLora

    of_file = {each.name for each in fields(LoraSettings)} - {"init"}
    if said := sorted(of_file & flags.get("lora", {}).keys()):
        raise HeroError(f"lora.{said[0]} comes from the file of --init-lora: leave it out")
    first = FirstLora.of(settings)
    talk(first.sentence())
    return first


@private()
def resume(
    name: str | None,
    *,
    way: Way,
    more_rounds: int | None,
    from_round: int | None = None,
    folder: Path | None = None,
    added: Sequence[str] = (),
) -> int:
    """Continue a run; returns the exit code, 0 if it has ended already.

    from_round: leave the run as it is, and repeat from this round in a new run, in `folder` or
    beside it. added: further prompts, drawn from the first round that has not begun.
    """
    if (code := followed()) is not None:
        return code
    way.check()
    if folder is not None and from_round is None:
        raise HeroError("--dir goes with --from-round: a resumed run stays in its folder")
    run = open_run(name)
    if from_round is not None:
        prepare(way, run.task, run.settings)  # refuses before anything is written
        run = branch(run, from_round, folder)
        talk(f"{round_name(from_round)} starts again in {run.path}")
    if run.in_use():
        with run.lock():
            pass
    if added:
        settings, task = with_prompts(run, added)
        prepare(way, task, settings)  # refuses before anything is written
        run = with_added(run, added)
    if is_over(run) and more_rounds is None:
        return say_over(run, way)
    go = prepare(way, run.task, run.settings)
    if way.headless and way.labels in (None, "none"):
        from hero_tui.commands.headless import wait_for_labels

        if (code := wait_for_labels(run)) is not None:
            return code
    return go(run, more_rounds)


def with_added(run: RunDir, templates: Sequence[str]) -> RunDir:
    """The run with further prompts; says from which round they are drawn."""
    with run.lock():
        run = add_prompts(run, templates)
    start = run.settings.prompt_starts[-1]
    talk(f"{len(run.settings.prompts)} prompts from {round_name(start)} on")
    if warning := prompt_warning(run.settings):
        talk(warning)
    return run


def is_over(run: RunDir) -> str:
    """Why the run has ended, if it has. If its journal lost marks, they are reported this once."""
    try:
        return run.over()
    except Damaged:
        with run.lock(), Journal(run.journal_path):
            raise


def say_over(run: RunDir, way: Way) -> int:
    """Report that the run has ended."""
    seen = run.opened()
    rounds = counted(seen.round, "round")
    talk(f"finished already: {seen.labels_used} labels in {rounds}: {run.path}")
    talk(
        f"more rounds: hero resume {run.path} --rounds 4; comparison with the base model: hero "
        f"eval {run.path}; LoRA: hero export {run.path} --out FILE"
    )
    if way.headless:
        from hero_engine.core.events import Finished

        data(Finished(seen.run, seen.round, seen.labels_used, run.over()).to_json())
    return ExitCode.DONE


def prepare(way: Way, task: Task, settings: Settings) -> Callable[[RunDir, int | None], int]:
    """The function that runs the loop in this way and returns the exit code.

    HeroError if it cannot, before anything is written.
    """
    if not way.headless:
        from hero_tui.launch import require_terminal
        from hero_tui.preferences.ui_preferences import read_preferences

        require_terminal()
        nice = read_preferences().ui.engine_nice
        return partial(_in_app, way=way, nice=nice)
    from hero_tui.commands.headless import Limits, labeller_for, run_headless

    make = labeller_for(way.labels, task, settings, force=way.force)
    limits = Limits(way.max_seconds, way.max_rounds)
    return lambda run, more_rounds: run_headless(
        run, make, limits, more_rounds, processes=way.processes
    )


def _in_app(run: RunDir, more_rounds: int | None, *, way: Way, nice: int) -> int:
    from hero_engine.core.events import Event, Notice, RunOpened
    from hero_engine.runtime.engine_thread import EngineThread
    from hero_tui.commands.after_run import after_run
    from hero_tui.launch import run_on_terminal

    warning = prompt_warning(run.settings)

    def engine(deliver: Callable[[Event], None]) -> EngineThread:
        def with_warning(event: Event) -> None:
            deliver(event)
            if warning and isinstance(event, RunOpened):
                deliver(Notice(warning))

        return EngineThread(
            run, with_warning, more_rounds=more_rounds, processes=way.processes, nice=nice
        )

    return run_on_terminal(
        run.path,
        engine,
        graphics=way.graphics,
        opened=run.opened(),
        noise=run.settings.noise,
        judge=way.judge,
        then=lambda step: after_run(run, step, lambda more: _in_app(run, more, way=way, nice=nice)),
    )


def given(**named: Any) -> dict[str, Any] | None:
    """The options that were given; None if none was."""
    return {name: value for name, value in named.items() if value is not None} or None


def with_pictures(settings: Settings) -> Settings:
    """The settings with the input pictures' whole paths. HeroError if one cannot be read."""
    paths = [Path(name).expanduser().absolute() for name in settings.sampler.image]
    for path in paths:
        opened(path)
    return replace(settings, sampler=replace(settings.sampler, image=tuple(map(str, paths))))


def changes_of(settings: Sequence[str], **named: Any) -> dict[str, Any]:
    """Changes of settings: "KEY=VALUE" strings (VALUE is TOML or plain text) and named ones.

    "ddpo.clip_range=1e-3" becomes {"ddpo": {"clip_range": 0.001}}.
    """
    changes: dict[str, Any] = {}
    for text in settings:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not key or not equals:
            raise HeroError(f"--set {text}: write KEY=VALUE, such as sampler.steps=20")
        table = key.partition(".")[0]
        if "." in key and not isinstance(changes.get(table, {}), dict):
            raise HeroError(f"--set {text}: another --set gives {table} a single value")
        change, notes = renamed(nested(key, parsed(key, value)))
        for note in notes:
            talk_once(f"--set {text}: {note}")
        changes = merge(changes, change)
    return merge(changes, {name: value for name, value in named.items() if value is not None})
