"""A process of a run above rank 0: the same loop, without folder, terminal and labels.

    python -m hero_engine.runtime.rank_process   # `hero run --processes N` starts it: launcher.py

`hero worker` is the same where accelerate's launcher has started it.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

from hero_engine.config.settings import from_toml
from hero_engine.core.errors import ExitCode, HeroError, StopRequested
from hero_engine.distributed.launcher import (
    Launched,
    joined,
    nothing,
    own_device,
    stop_with_parent,
)
from hero_engine.distributed.watch import described


def work(stop: Callable[[], None] = nothing) -> None:
    """Share a run until its end, or until rank 0 leaves. HeroError for an error of this process."""
    from hero_engine.training.shared_rounds import run_replica
    from hero_engine.training.trainer import Trainer

    launched = Launched.from_environment()
    if launched is None:
        raise HeroError("accelerate launch starts hero worker: see docs/processes.md")
    if launched.rank == 0:
        raise HeroError("the first process of a launcher is the run itself: start it with hero run")
    try:
        with joined(launched, stop) as processes:
            settings = from_toml(processes.broadcast()[0]["settings"])
            trainer = Trainer.open(settings, own_device(), processes)
            run_replica(trainer, processes.check)
    except StopRequested:
        return


def main() -> int:
    """As a started process: an error is in its log, and on rank 0's stderr in one line."""
    try:
        work(stop_with_parent())
    except HeroError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        return described(error)[1]
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
