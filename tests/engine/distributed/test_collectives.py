"""Collectives on real process groups of two and three ranks, and with one process."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from process_groups import Ended, run_ranks, start_ranks, wait_for
from torch import Tensor

from hero_engine.core.errors import HeroError, StopRequested
from hero_engine.distributed.collectives import (
    SINGLE,
    MemoryShortElsewhere,
    Processes,
    group_of,
    pack,
    prefixed,
    unpack,
)

WELL = Ended(0, "")


def test_with_one_process_nothing_is_exchanged() -> None:
    rows = torch.tensor([1.0, 2.0])
    SINGLE.all_reduce([rows])
    with SINGLE.in_step():
        assert SINGLE.all_gather(rows) is rows
        assert SINGLE.gather({"rows": rows})[0]["rows"] is rows
    assert SINGLE.broadcast([1], {"rows": rows}) == ([1], {"rows": rows})
    assert (SINGLE.from_main(lambda: 7), SINGLE.all_reduce_min(3)) == (7, 3)
    assert SINGLE.tensor_from_main(rows) is rows and SINGLE.tensor_from_main(None) is None
    assert rows.tolist() == [1.0, 2.0]


def test_a_payload_arrives_as_it_was_packed() -> None:
    tensors: dict[str, Tensor] = {
        "a": torch.randn(2, 3, dtype=torch.float64),
        "half": torch.randn(3).bfloat16(),
        "none": torch.zeros(0, 4),
        "good": torch.tensor([True, False]),
    }
    values, received = unpack(pack({"images": [0, 7], "é": None}, prefixed("part", tensors)))
    assert values == {"images": [0, 7], "é": None}
    part = group_of("part", received)
    assert part.keys() == tensors.keys() and group_of("par", received) == {}
    for name, each in part.items():
        assert each.dtype == tensors[name].dtype and each.equal(tensors[name])


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_shares_are_the_rows_in_order_and_even(count: int) -> None:
    rows = torch.arange(5)
    shares = [Processes(rank, count).share(rows) for rank in range(count)]
    assert torch.cat(shares).equal(rows)
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def every_collective(processes: Processes) -> None:
    """Fails where a collective does not give what is known of all ranks."""
    rank, count = processes.rank, processes.count
    one, two = torch.tensor([1.0 + rank]), torch.full((2, 2), float(rank))
    processes.all_reduce([one, two])
    assert one.item() == sum(range(1, count + 1))
    assert two.flatten().tolist() == [sum(range(count))] * 4
    assert processes.all_reduce_min(10 - rank) == 11 - count

    rows = torch.arange(10, dtype=torch.bfloat16).view(5, 2)
    assert processes.all_gather(processes.share(rows)).equal(rows)
    empty = processes.all_gather(rows[:0] if rank else rows)
    assert empty.equal(rows)

    own = {f"of rank {rank}": torch.full((rank,), rank)}
    exchanged, gathered = processes.exchange(own), processes.gather(own)
    assert (len(exchanged), len(gathered)) == (count, 0 if rank else count)
    for source, each in [*enumerate(exchanged), *enumerate(gathered)]:
        assert each[f"of rank {source}"].tolist() == [source] * source

    said = ({"round": 2}, {"latents": rows}) if rank == 0 else (None, None)
    values, tensors = processes.broadcast(*said)
    assert values == {"round": 2} and tensors["latents"].equal(rows)
    assert processes.from_main(lambda: f"asked on rank {rank}") == "asked on rank 0"
    agreed = processes.tensor_from_main(torch.tensor([rank + 0.5]))
    assert agreed is not None and agreed.tolist() == [0.5]
    assert processes.tensor_from_main(None if rank == 0 else rows) is None


@pytest.mark.parametrize("count", [2, 3])
def test_every_collective(count: int, tmp_path: Path) -> None:
    assert run_ranks(count, every_collective, tmp_path) == [WELL] * count


def short_on_rank_1(processes: Processes) -> None:
    """Rank 1 runs out of memory before a sum that the others already wait for."""
    try:
        with processes.in_step():
            if processes.rank == 1:
                raise RuntimeError("CUDA out of memory (says a test)")
            processes.all_reduce([torch.ones(1000)])
            raise AssertionError("the sum is without a rank")
    except MemoryShortElsewhere:
        assert processes.rank != 1
    except RuntimeError:
        assert processes.rank == 1
    with processes.in_step():
        ones = torch.ones(2)
        processes.all_reduce([ones])
    assert ones.tolist() == [processes.count] * 2


def short_at_the_end_on_rank_1(processes: Processes) -> None:
    """The same after the last sum, where the others have finished their part of the block."""
    raised = None
    try:
        with processes.in_step():
            processes.all_reduce([torch.ones(1)])
            if processes.rank == 1:
                raise MemoryError
    except MemoryError as error:
        raised = type(error)
    assert raised is (MemoryError if processes.rank == 1 else MemoryShortElsewhere)


@pytest.mark.parametrize("program", [short_on_rank_1, short_at_the_end_on_rank_1])
@pytest.mark.parametrize("count", [2, 3])
def test_memory_short_on_one_rank_is_short_on_all(count: int, program: Any, tmp_path: Path) -> None:
    assert run_ranks(count, program, tmp_path) == [WELL] * count


def rank_1_fails(processes: Processes) -> None:
    """Rank 1 has an error of its own while the others wait for it."""
    if processes.rank == 1:
        raise HeroError("the model cannot be opened", exit_code=3)
    processes.all_reduce([torch.ones(1)])


def rank_1_has_a_fault(processes: Processes) -> None:
    """As above, with an error that nobody expects."""
    if processes.rank == 1:
        raise KeyError("lora")
    processes.all_reduce([torch.ones(1)])


@pytest.mark.parametrize("count", [2, 3])
def test_the_error_of_a_rank_is_one_line_of_rank_0(count: int, tmp_path: Path) -> None:
    first, second, *others = run_ranks(count, rank_1_fails, tmp_path)
    assert first == Ended(3, f"process 1 of {count}: the model cannot be opened\n")
    assert second == Ended(3, "the model cannot be opened\n")
    assert others == [WELL] * (count - 2)


def test_an_unexpected_error_of_a_rank_is_named_on_rank_0(tmp_path: Path) -> None:
    first, second = run_ranks(2, rank_1_has_a_fault, tmp_path)
    assert first == Ended(1, "process 1 of 2: KeyError: 'lora'\n")
    assert second.code == 1


def rank_1_is_killed(processes: Processes) -> None:
    """Rank 1 dies in the middle of a wait that would last for hours."""
    if processes.rank == 1:
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    processes.broadcast("labels after hours" if processes.rank == 2 else None)
    processes.all_reduce([torch.ones(1)])


def test_a_killed_rank_is_noticed_in_seconds(tmp_path: Path) -> None:
    begun = time.monotonic()
    first, second = run_ranks(2, rank_1_is_killed, tmp_path)
    assert time.monotonic() - begun < 60
    assert (first.code, second.code) == (75, -signal.SIGKILL)
    assert first.err.startswith("process 1 of 2 ended or is out of reach (")
    assert first.err.endswith("; no label is lost. Resume with: hero resume\n")


def rank_0_stops(processes: Processes) -> None:
    """Rank 0 is asked to stop while the others wait for what it will broadcast."""
    if processes.rank == 0:
        time.sleep(0.5)
        raise StopRequested
    processes.broadcast()


@pytest.mark.parametrize("count", [2, 3])
def test_when_rank_0_stops_all_do(count: int, tmp_path: Path) -> None:
    assert run_ranks(count, rank_0_stops, tmp_path) == [WELL] * count


def all_wait(folder: Path, processes: Processes) -> None:
    """The others wait for rank 0, which says that it is there and does nothing."""
    if processes.rank:
        processes.broadcast()
    (folder / "ready").touch()
    time.sleep(1000)


def test_no_rank_outlives_a_killed_rank_0(tmp_path: Path) -> None:
    ranks = start_ranks(3, partial(all_wait, tmp_path), tmp_path)
    wait_for(tmp_path / "ready")
    os.kill(ranks[0].pid, signal.SIGKILL)
    assert [rank.end().code for rank in ranks] == [-signal.SIGKILL, 0, 0]
