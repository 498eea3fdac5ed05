"""What processes share a run's computing with: shares, messages, and what is refused."""

import pytest
import torch
from torch import Tensor

from hero_engine.core.errors import HeroError
from hero_engine.distributed import launcher as crew
from hero_engine.distributed.collectives import ALONE, Message, Ranks, named
from hero_engine.distributed.sharding import Wanted


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_shares_come_to_the_whole_in_order(count: int) -> None:
    rows = torch.arange(5)
    shares = [Ranks(rank, count).share(rows) for rank in range(count)]
    assert torch.cat(shares).equal(rows)
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_pieces_are_of_the_share_and_none_is_empty() -> None:
    rows = torch.arange(7)
    assert [piece.tolist() for piece in Ranks(1, 2).pieces(rows, 2)] == [[4, 5], [6]]
    assert [*Ranks(7, 8).pieces(rows, 2)] == []


def test_alone_nothing_crosses() -> None:
    gradient = torch.tensor([1.0, 2.0])
    ALONE.add_up([gradient])
    with ALONE.together():
        assert ALONE.joined(gradient) is gradient
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


def wanted(*images: int) -> Wanted:
    noises = torch.tensor(images, dtype=torch.float32).view(-1, 1, 1, 1)
    return Wanted(0, images, noises, torch.tensor(images).view(-1, 1))


def test_pictures_are_made_in_pieces_that_follow_one_another() -> None:
    pieces = list(wanted(0, 1, 2, 6, 7, 9).pieces(2))
    assert [piece.images for piece in pieces] == [(0, 1), (2,), (6, 7), (9,)]
    for piece in pieces:
        assert piece.noises_B_C_H_W.flatten().tolist() == list(piece.images)
        assert piece.kept_steps_B_S is not None
        assert piece.kept_steps_B_S.flatten().tolist() == list(piece.images)


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
