"""`hero eval --human`: a person judges the tuned model against its base, blind."""

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
    name: str, images: int, noise: str, *, prompt: str | None, graphics: str | None, as_json: bool
) -> int:
    """Let a person judge, continue a comparison, or print its result; returns the exit code.

    HeroError if there is no terminal and something is left to judge.
    """
    if noise != "fresh":
        raise HeroError("--human always samples fresh noises: leave out --noise")
    comparison = Comparison.open(open_run(name), images, prompt)
    if not comparison.judged:
        code = judge(comparison, name, graphics)
        if code != ExitCode.DONE or not comparison.judged:
            return code
    if as_json:
        result = comparison.result()
        found = verdict_of(result)
        answer = None if found is None else found.answer
        needed = None if found is None else found.needed
        data_json(result | {"verdict": answer, "images_needed": needed})
    else:
        print_result(comparison.result())
    return ExitCode.DONE


def judge(comparison: Comparison, name: str, graphics: str | None) -> int:
    """Show the mixed images in the app; returns its exit code."""
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
        go_on=f"hero eval {name} --human --images {comparison.pairs}",
    )


def print_result(result: dict[str, Any]) -> None:
    """A comparison as text."""
    say(f"“{result['prompt']}”, judged blind; 95% intervals")
    for name, prefix in (("tuned", ""), ("base", "base_")):
        judged = result[f"{prefix}judged"]
        share = _between(result[f"{prefix}success_rate"], result[f"{prefix}interval"])
        say(f"{name:<11} good {share}, {judged} images judged")
    difference = _between(result["difference"], result["difference_interval"], "+")
    alone = f"only tuned good {result['only_tuned']}, only base {result['only_base']}"
    say(f"difference  {difference}, {result['pairs']} pairs: {alone}")
    if found := verdict_of(result):
        say(found.sentence())


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
