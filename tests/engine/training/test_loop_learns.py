"""The whole loop, round after round, on a toy whose best weight is known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest
import torch
from stand_ins import BellModel
from tiny_runs import TASK, go, new_run

from hero_engine.config.settings import EmbeddingSettings, NoiseSettings, SamplerSettings, Settings
from hero_engine.config.update_settings import DdpoSettings, ForwardSettings
from hero_engine.core.labels import Mark
from hero_engine.labelling.annotators import Pictures, read_pictures
from hero_engine.models.pipeline import Model
from hero_engine.storage.journal import Journal
from hero_engine.training.trainer import Trainer


class Bell(BellModel):
    """`BellModel` as the loop wants it: latents of one number, pictures whose grey says it."""

    latent_shape = (1, 1, 1)

    def __init__(self) -> None:
        super().__init__()
        self.dtype = torch.float32

    def predicted(self, latents: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """In single precision, as the embedding's."""
        return super().predicted(latents, timesteps).to(latents.dtype)

    def decode(self, latents_B_C_H_W: torch.Tensor) -> Any:
        """-1 is black, 2 is white."""
        grey = ((latents_B_C_H_W + 1) * 85).round().clamp(0, 255).to(torch.uint8)
        return grey.permute(0, 2, 3, 1).expand(-1, 4, 4, 3).numpy()

    def lora_state(self) -> dict[str, torch.Tensor]:
        """m."""
        return {"m": self.offset.detach().clone()}

    def load_lora_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """m."""
        self.offset.data.copy_(state["m"])


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
def test_the_loop_finds_a_known_optimum(
    tmp_path: Path, update: Literal["ddpo", "forward"], rounds: int
) -> None:
    """Pictures are normal around m = 0 at first; the target is 1. All noises are fresh.

    The policy gradient makes one step a round: a second one would be many bells off its policy.
    """
    settings = Settings(
        task=TASK.name,
        prompt=TASK.prompt,
        update=update,
        batch=64,
        microbatch=64,
        rounds=rounds,
        seed=2,
        sampler=SamplerSettings(steps=4, guidance=1.0),
        noise=NoiseSettings(fresh_ratio=1.0),
        embedding=EmbeddingSettings(
            channels=(16,), features=128, head=(32,), learning_rate=3e-3, epochs=40
        ),
        ddpo=DdpoSettings(
            learning_rate=0.07,
            betas=(0.8, 0.9),
            images_per_update=64,
            microbatch=64,
            clip_range=0.3,
        ),
        forward=ForwardSettings(learning_rate=0.02, old_policy="round", history="round", steps=20),
    )
    annotator, model = LikesOne(), Bell()
    trainer = Trainer(settings, cast(Model, model))
    go(new_run(tmp_path / "bell", settings), annotator, trainer=trainer)
    assert annotator.distances[0] > 0.9
    assert annotator.distances[-1] < 0.4
    assert float(model.offset.detach()) == pytest.approx(1, abs=0.35)
