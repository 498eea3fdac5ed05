"""Write the trained parts as fp16 safetensors into the package: `embedded/weights`.

Fails above 12 MB. Copies the training logs next to the scripts.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from hero_engine.embedded import judges_dir, weights_dir
from hero_engine.embedded.training_scripts import common

LIMIT_BYTES = 12_000_000
LOGS = ("vae.log", "unet.log", "calibrate.log", "judge-labeller.log", "judge-evaluator.log")


def pack_pipeline(work: Path) -> None:
    """Copy WORK/model into the package as fp16."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        work / "model", torch_dtype=torch.float16, safety_checker=None
    )
    shutil.rmtree(weights_dir(), ignore_errors=True)
    pipeline.save_pretrained(weights_dir(), safe_serialization=True)
    for path in weights_dir().rglob("*.safetensors"):
        path.chmod(0o644)


def pack_judges(work: Path) -> None:
    """Copy the judges as fp16, without batch norm's counters, which inference does not use."""
    judges_dir().mkdir(parents=True, exist_ok=True)
    for path in sorted((work / "judges").glob("*.safetensors")):
        state = load_file(path)
        kept = {k: v.half() for k, v in state.items() if not k.endswith("num_batches_tracked")}
        save_file(kept, judges_dir() / path.name)
        (judges_dir() / path.name).chmod(0o644)


def packed_bytes() -> int:
    """Size of everything under `embedded/weights`."""
    return sum(file.stat().st_size for file in weights_dir().parent.rglob("*") if file.is_file())


def main() -> None:
    """Command line."""
    work = common.command_line(__doc__).parse_args().work
    pack_pipeline(work)
    pack_judges(work)
    logs = Path(__file__).parent / "logs"
    logs.mkdir(exist_ok=True)
    for name in LOGS:
        if (work / name).exists():
            shutil.copy(work / name, logs / name)
    size = packed_bytes()
    print(f"{size / 1e6:.2f} MB in {weights_dir().parent}")
    if size > LIMIT_BYTES:
        raise SystemExit(f"the weights take {size} bytes; the package allows {LIMIT_BYTES}")


if __name__ == "__main__":
    main()
