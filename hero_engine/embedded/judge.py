"""Judges: small classifiers of what a picture shows.

Two ship. The "labeller" labels in place of a person. The "evaluator" has other widths, other
training pictures and another seed, and only scores, so that a model which only fools the labeller
scores low.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hero_engine.core.errors import HeroError
from hero_engine.embedded import check_size, judges_dir
from hero_engine.embedded.drawing import ATTRIBUTES, SUBJECTS
from hero_engine.embedded.drawing.subject import Attributes

ImageArray = npt.NDArray[np.uint8]
Which = Literal["labeller", "evaluator"]
WIDTHS: dict[str, tuple[int, ...]] = {
    "labeller": (24, 48, 96, 128),
    "evaluator": (20, 40, 80, 160),
}
HEADS = tuple((task, name) for task, names in ATTRIBUTES.items() for name in names)


class Residual(nn.Module):
    """Two 3x3 convolutions with batch norm around a skip; the first may halve the size."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.skip = nn.Conv2d(inside, outside, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, H, W) -> (B, outside, H / stride, W / stride)."""
        return torch.relu(self.body(x) + self.skip(x))


class JudgeNet(nn.Module):
    """Pictures (B, 3, 64, 64) in [-1, 1] -> logits for every attribute of every task."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        first, *rest = widths
        layers: list[nn.Module] = [nn.Conv2d(3, first, 5, 2, 2), nn.BatchNorm2d(first), nn.ReLU()]
        for inside, outside in zip(widths, rest, strict=False):
            layers.append(Residual(inside, outside, 2))
        layers.append(Residual(widths[-1], widths[-1], 1))
        self.body = nn.Sequential(*layers)
        self.squeeze = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * 16, 128), nn.ReLU())
        self.heads = nn.ModuleDict(
            {
                head_key(task, name): nn.Linear(128, len(ATTRIBUTES[task][name]))
                for task, name in HEADS
            }
        )

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, 64, 64) -> (B, 128), the layer below the heads."""
        return self.squeeze(self.body(x))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits (B, values) by `head_key`."""
        features = self.features(x)
        return {key: head(features) for key, head in self.heads.items()}


def head_key(task: str, attribute: str) -> str:
    """Name of the head of a task's attribute."""
    return f"{task}/{attribute}"


def to_input(images_u8_B_H_W_3: ImageArray) -> Tensor:
    """uint8 pictures -> (B, 3, 64, 64) in [-1, 1]. HeroError for pictures of another size."""
    height, width = images_u8_B_H_W_3.shape[1:3]
    check_size(width, height)
    return torch.from_numpy(images_u8_B_H_W_3).permute(0, 3, 1, 2).float().div(127.5).sub(1)


class Judge:
    """A trained judge. Methods take uint8 pictures (B, 64, 64, 3); HeroError for unknown tasks."""

    def __init__(self, net: JudgeNet) -> None:
        self.net = net.eval()

    @classmethod
    def open(cls, which: Which) -> Judge:
        """Load the labeller or the evaluator."""
        net = JudgeNet(WIDTHS[which])
        state = load_file(judges_dir() / f"{which}.safetensors")
        net.load_state_dict({key: value.float() for key, value in state.items()}, strict=False)
        return cls(net)

    @torch.inference_mode()
    def probabilities(self, task: str, images: ImageArray) -> dict[str, npt.NDArray[np.float32]]:
        """Attribute -> (B, values) probabilities, values in the order of `ATTRIBUTES`."""
        require_task(task)
        features = self.net.features(to_input(images))
        return {
            name: self.net.heads[head_key(task, name)](features).softmax(-1).numpy()
            for name in ATTRIBUTES[task]
        }

    def attributes(self, task: str, images: ImageArray) -> list[dict[str, str]]:
        """The most probable value of every attribute, for each picture."""
        rows = self.probabilities(task, images)
        return [
            {name: ATTRIBUTES[task][name][int(rows[name][index].argmax())] for name in rows}
            for index in range(len(images))
        ]

    def success_probability(
        self, task: str, images: ImageArray, wanted: Attributes | None = None
    ) -> npt.NDArray[np.float32]:
        """Probability of the wanted attributes, (B,), as if they were independent."""
        rows = self.probabilities(task, images)
        result = np.ones(len(images), np.float32)
        for name, value in (wanted or SUBJECTS[task].wanted).items():
            result *= rows[name][:, ATTRIBUTES[task][name].index(value)]
        return result

    def success(
        self, task: str, images: ImageArray, wanted: Attributes | None = None
    ) -> npt.NDArray[np.bool_]:
        """True for each picture whose most probable attributes are the wanted ones: (B,) bool.

        wanted: the task's own if None.
        """
        seen = self.attributes(task, images)
        needed = (wanted or SUBJECTS[task].wanted).items()
        return np.array([needed <= each.items() for each in seen], bool)

    @torch.inference_mode()
    def features(self, images: ImageArray) -> npt.NDArray[np.float32]:
        """Features (B, 128) for distances between pictures."""
        return self.net.features(to_input(images)).numpy()


def require_task(task: str) -> None:
    """HeroError for a task that no judge was trained on."""
    if task not in ATTRIBUTES:
        known = ", ".join(ATTRIBUTES)
        raise HeroError(f"no judge knows the task {task!r}; judged tasks: {known}")
