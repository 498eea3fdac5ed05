"""What processes share a run's computing with: shares, messages, and what is refused."""

import pytest
import torch
from torch import Tensor

from hero_engine.core.collective import Microbatches
from hero_engine.core.errors import HeroError
from hero_engine.distributed import launcher as crew
from hero_engine.distributed.collectives import ALONE, Message, Ranks, named


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_shares_come_to_the_whole_in_order(count: int) -> None:
    rows = torch.arange(5)
    shares = [Ranks(rank, count).share(rows) for rank in range(count)]
    assert torch.cat(shares).equal(rows)
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_microbatches_are_of_the_share_and_none_is_empty() -> None:
    rows = torch.arange(7)
    pieces = Microbatches(2, Ranks(1, 2)).of(rows)
    assert [piece.tolist() for piece in pieces] == [[4, 5], [6]]
    assert [*Microbatches(2, Ranks(7, 8)).of(rows)] == []
    assert [piece.tolist() for piece in Microbatches(4).of(rows)] == [[0, 1, 2, 3], [4, 5, 6]]


def test_alone_nothing_crosses() -> None:
    gradient = torch.tensor([1.0, 2.0])
    ALONE.all_reduce([gradient])
    with ALONE.together():
        assert ALONE.all_gather(gradient) is gradient
    assert gradient.tolist() == [1.0, 2.0]


def test_a_message_arrives_as_it_was_sent() -> None:
    tensors: dict[str, Tensor] = {
        "a": torch.randn(2, 3, dtype=torch.float64),
        "none": torch.zeros(0, 4),
        "good": torch.tensor([True, False]),
    }
    sent = Message({"do": "sample", "images": [0, 7]}, named("part", tensors))
    came = Message.from_bytes(sent.to_bytes())
    assert came.said == sent.said
    assert came.part("part").keys() == tensors.keys()
    for name, each in came.part("part").items():
        assert each.dtype == tensors[name].dtype
        assert each.equal(tensors[name])
    assert came.part("par") == {}


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    crew.check_processes(2)
    with pytest.raises(HeroError, match=r"--processes 3: .* there are 2 GPUs here") as refused:
        crew.check_processes(3)
    assert refused.value.exit_code == 2


def test_a_launcher_has_started_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert crew.Launched.here() == crew.Launched(1, 4)
    with pytest.raises(HeroError, match="goes without a launcher"):
        crew.check_processes(2)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert crew.Launched.here() is None
