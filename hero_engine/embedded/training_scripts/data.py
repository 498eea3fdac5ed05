"""Draw the training pictures into one file.

``WORK/pictures.npz`` holds ``images_N_64_64_3`` (uint8), ``captions_N``, ``tasks_N`` and
``attributes_N`` (JSON text). Half of the pictures are hands: fingers are the hardest thing here.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hero_engine.embedded import drawing
from hero_engine.embedded.training_scripts import common

SHARE = {
    "hands": 0.45,
    "blue-rose": 0.11,
    "black-cat": 0.11,
    "narcissus": 0.09,
    "mountain": 0.10,
    "safety": 0.14,
}


@dataclass(frozen=True)
class TrainingPictures:
    """Drawn pictures, captions, tasks and attributes, each of length N."""

    images_N_64_64_3: npt.NDArray[np.uint8]
    captions_N: list[str]
    tasks_N: list[str]
    attributes_N: list[dict[str, str]]

    def __len__(self) -> int:
        return len(self.captions_N)


def draw_some(job: tuple[int, int, str, int]) -> list[tuple[bytes, str, str, str]]:
    """Draw one chunk: (seed, chunk number, task, count) -> picture bytes, caption, task, JSON."""
    seed, chunk, task, count = job
    rng = np.random.default_rng((seed, chunk))
    rows = []
    for _ in range(count):
        drawn = drawing.draw(task, rng)
        rows.append((drawn.image.tobytes(), drawn.caption, task, json.dumps(drawn.attributes)))
    return rows


def jobs(seed: int, total: int, chunk_size: int = 500) -> list[tuple[int, int, str, int]]:
    """The chunks that make `total` pictures in the shares of `SHARE`."""
    planned: list[tuple[int, int, str, int]] = []
    for task, share in SHARE.items():
        left = round(total * share)
        while left > 0:
            planned.append((seed, len(planned), task, min(chunk_size, left)))
            left -= chunk_size
    return planned


def draw_pictures(seed: int, total: int, processes: int = 2) -> TrainingPictures:
    """Draw pictures; the result depends on the seed, not on the number of processes."""
    with ProcessPoolExecutor(processes) as pool:
        rows = [row for chunk in pool.map(draw_some, jobs(seed, total)) for row in chunk]
    images = np.frombuffer(b"".join(row[0] for row in rows), np.uint8).reshape(-1, 64, 64, 3)
    return TrainingPictures(
        images, [r[1] for r in rows], [r[2] for r in rows], [json.loads(r[3]) for r in rows]
    )


def save(pictures: TrainingPictures, path: Path) -> None:
    """Write the pictures to an .npz file."""
    np.savez(
        path,
        images=pictures.images_N_64_64_3,
        captions=np.array(pictures.captions_N),
        tasks=np.array(pictures.tasks_N),
        attributes=np.array([json.dumps(a) for a in pictures.attributes_N]),
    )


def load(path: Path) -> TrainingPictures:
    """Read what `save` wrote."""
    with np.load(path) as file:
        return TrainingPictures(
            file["images"],
            [str(c) for c in file["captions"]],
            [str(t) for t in file["tasks"]],
            [json.loads(str(a)) for a in file["attributes"]],
        )


def main() -> None:
    """Command line."""
    args = common.command_line(__doc__, seed=1, total=36_000).parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    save(draw_pictures(args.seed, args.total), args.work / "pictures.npz")


if __name__ == "__main__":
    main()
