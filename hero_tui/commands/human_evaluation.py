"""`hero eval --human`: a person judges a tuned model, blind, against its base or another run's."""

from __future__ import annotations

from typing import Any

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.xdg import private
from hero_engine.evaluation.blind_comparison import Comparison
from hero_engine.evaluation.verdict import Verdict, verdict
from hero_tui.commands.find_run import open_run
from hero_tui.output_streams import data_json, say


@private()
def compare(
    name: str,
    images: int,
    noise: str,
    *,
    prompt: str | None,
    graphics: str | None,
    as_json: bool,
    other: str | None = None,
) -> int:
    """Let a person judge, continue a comparison, or print its result; returns the exit code.

    other: the run to compare with; None: the base model.
    HeroError if there is no terminal and something is left to judge.
    """
    if noise != "fresh":
        raise HeroError("--human always samples fresh noises: leave out --noise")
    against = None if other is None else open_run(other)
    comparison = Comparison.open(open_run(name), images, prompt, against)
    if not comparison.judged:
        code = judge(comparison, f"{name} {other}" if other else name, graphics)
        if code != ExitCode.DONE or not comparison.judged:
            return code
    if as_json:
        result = comparison.result()
        found = verdict_of(result)
        answer = None if found is None else found.answer
        needed = None if found is None else found.needed
        data_json(result | {"verdict": answer, "images_needed": needed})
    else:
        print_result(comparison.result(), names_of(comparison))
    return ExitCode.DONE


def names_of(comparison: Comparison) -> tuple[str, str]:
    """What the two models are called in the result."""
    if comparison.other is None:
        return "tuned", "base"
    first, second = comparison.run.path, comparison.other.path
    return (first.name, second.name) if first.name != second.name else (str(first), str(second))


def judge(comparison: Comparison, names: str, graphics: str | None) -> int:
    """Show the mixed images in the app; returns its exit code. names: as the command has them."""
    from hero_engine.evaluation.blind_session import blind_job
    from hero_engine.runtime.engine_thread import EngineThread
    from hero_tui.launch import require_terminal, run_on_terminal
    from hero_tui.preferences.ui_preferences import read_preferences

    require_terminal(otherwise="")
    nice = read_preferences().ui.engine_nice
    comparison.begin()
    return run_on_terminal(
        comparison.folder.path,
        lambda deliver: EngineThread(
            comparison.folder, deliver, job=blind_job(comparison), nice=nice
        ),
        graphics=graphics,
        opened=comparison.folder.opened(),
        blind=True,
        go_on=f"hero eval {names} --human --images {comparison.pairs}",
    )


def print_result(result: dict[str, Any], names: tuple[str, str] = ("tuned", "base")) -> None:
    """A comparison as text. names: of the two models; "base" is a run's base model."""
    first, second = names
    rival = "other" if "other_judged" in result else "base"
    width = max(len("difference"), len(first), len(second)) + 1
    say(f"“{result['prompt']}”, judged blind; 95% intervals")
    for name, prefix in ((first, ""), (second, f"{rival}_")):
        judged = result[f"{prefix}judged"]
        share = _between(result[f"{prefix}success_rate"], result[f"{prefix}interval"])
        say(f"{name:<{width}} good {share}, {judged} images judged")
    difference = _between(result["difference"], result["difference_interval"], "+")
    alone = f"only {first} good {result['only_tuned']}, only {second} {result[f'only_{rival}']}"
    say(f"{'difference':<{width}} {difference}, {result['pairs']} pairs: {alone}")
    if found := verdict_of(result):
        say(found.sentence() if rival == "base" else preference(found, names))


def preference(found: Verdict, names: tuple[str, str]) -> str:
    """One sentence that says which of two runs the person preferred."""
    if found.answer == "undecided":
        return f"No preference yet. {found.sentence()}"
    first, second = names if found.answer == "better" else names[::-1]
    return f"Preferred: {first}. Its pictures are good more often than those of {second}."


def verdict_of(result: dict[str, Any]) -> Verdict | None:
    """Whether the tuned model beats its base; None without a pair of labels."""
    if result["difference"] is None:
        return None
    return verdict(result["difference"], result["difference_interval"], result["pairs"])


def _between(value: float | None, interval: tuple[float, float] | None, sign: str = "") -> str:
    if value is None or interval is None:
        return "unknown"
    low, high = interval
    return f"{value:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"
