"""A process that follows rank 0: it waits for an order, does its share, and waits for the next.

    python -m hero_engine.distributed.follower   # started by `hero run --processes`: launcher.py

It ends with rank 0: with the pipe on its stdin where that process started it, and else with the
connection between them.
"""

from __future__ import annotations

import os
import sys
import threading

from hero_engine.config.settings import from_toml
from hero_engine.core.errors import ExitCode, HeroError, Lost
from hero_engine.distributed.collectives import Ranks
from hero_engine.distributed.launcher import Launched, joined
from hero_engine.distributed.sharding import sample_answer, update_share
from hero_engine.models.open_model import model_for
from hero_engine.updates import PolicyOptimizer, make_update


def follow(ranks: Ranks) -> None:
    """Serve one run until rank 0 ends. HeroError where the model cannot be opened here."""
    try:
        settings = from_toml(ranks.awaited_order().said["settings"])
        model = model_for(settings, own_device())
        optimizer = PolicyOptimizer(make_update(settings, model), settings.prompt, ranks)
        while True:
            order = ranks.awaited_order()
            if order.said["do"] == "sample":
                ranks.answer(sample_answer(ranks, model, settings, order))
            else:
                update_share(ranks, model, optimizer, order)
    except Lost:
        return


def own_device() -> str:
    """Each process of a machine has a GPU of its own, where there are any."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return "cuda"


def work() -> int:
    """Follow as the environment says; returns the exit code, after one line where it is not 0.

    HeroError, exit code 2, where no launcher has started this process.
    """
    launched = Launched.here()
    if launched is None:
        raise HeroError("hero worker is started by accelerate launch: see docs/processes.md")
    if launched.rank == 0:
        raise HeroError("hero worker follows, and the first process leads: start it with hero run")
    follow(joined(launched))
    return ExitCode.DONE


def end_with_parent() -> None:
    """End at once when stdin is closed; only who started this process holds its other end."""

    def watch() -> None:
        sys.stdin.buffer.read()
        os._exit(ExitCode.DONE)

    threading.Thread(target=watch, name="hero-parent", daemon=True).start()


def main() -> int:
    """As a process of its own: an error is one line on stderr."""
    end_with_parent()
    try:
        return work()
    except HeroError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
