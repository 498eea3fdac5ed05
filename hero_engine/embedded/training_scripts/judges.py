"""Train the two judges on drawn pictures passed through the VAE.

Training pictures are decoded from a perturbed latent, shifted, mirrored and recoloured, because
generated pictures are less clean than drawn ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from hero_engine.embedded import judge
from hero_engine.embedded.drawing import ATTRIBUTES, is_success
from hero_engine.embedded.training_scripts import common, data, vae

SEEDS = {"labeller": 11, "evaluator": 22}
LATENT_NOISE = 0.15
HELD_OUT = 3000


@torch.no_grad()
def through_vae(codec: AutoencoderKL, images: Tensor, seed: int) -> Tensor:
    """uint8 pictures -> the same encoded and decoded, uint8 (N, 64, 64, 3)."""
    random = torch.Generator().manual_seed(seed)
    made = []
    for start in range(0, len(images), 128):
        posterior = codec.encode(vae.to_tensor(images[start : start + 128])).latent_dist
        spread = posterior.std + LATENT_NOISE / codec.config.scaling_factor * torch.rand(
            len(posterior.mean), 1, 1, 1, generator=random
        )
        latents = posterior.mean + spread * torch.randn(posterior.mean.shape, generator=random)
        decoded = codec.decode(latents).sample.clamp(-1, 1)
        made.append(decoded.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1))
    return torch.cat(made)


def targets(pictures: data.TrainingPictures) -> dict[str, Tensor]:
    """Head -> (N,) index of the true value; -100 (ignored) for pictures of other tasks."""
    result = {}
    for task, name in judge.HEADS:
        values = ATTRIBUTES[task][name]
        rows = zip(pictures.tasks_N, pictures.attributes_N, strict=True)
        index = [values.index(seen[name]) if of == task else -100 for of, seen in rows]
        result[judge.head_key(task, name)] = torch.tensor(index)
    return result


def disturb(images: Tensor, random: torch.Generator) -> Tensor:
    """Mirror, shift by up to 3 pixels, recolour and add noise; (B, 3, 64, 64) in [-1, 1]."""
    count = len(images)
    mirrored = torch.rand(count, 1, 1, 1, generator=random) < 0.5
    images = torch.where(mirrored, images.flip(-1), images)
    down, across = torch.randint(-3, 4, (2,), generator=random).tolist()
    images = torch.nn.functional.pad(images, (3, 3, 3, 3), mode="replicate")
    images = images[..., 3 + down : 67 + down, 3 + across : 67 + across]
    gain = 1 + 0.15 * torch.randn(count, 3, 1, 1, generator=random)
    offset = 0.08 * torch.randn(count, 3, 1, 1, generator=random)
    return images * gain + offset + 0.04 * torch.randn(images.shape, generator=random)


def loss_of(net: judge.JudgeNet, inputs: Tensor, wanted: dict[str, Tensor]) -> Tensor:
    """Sum over heads of the cross entropy of the pictures each head is about."""
    total = torch.zeros(())
    for key, logits in net(inputs).items():
        if (wanted[key] >= 0).any():
            share = (wanted[key] >= 0).float().mean()
            total = total + share * cross_entropy(logits, wanted[key], label_smoothing=0.02)
    return total


@torch.no_grad()
def accuracy(
    net: judge.JudgeNet, images: Tensor, pictures: data.TrainingPictures
) -> dict[str, float]:
    """Task -> share of held-out pictures whose success is judged rightly."""
    judged = judge.Judge(net)
    result = {}
    for task in ATTRIBUTES:
        rows = [i for i, of in enumerate(pictures.tasks_N) if of == task]
        wanted = [is_success(task, pictures.attributes_N[i]) for i in rows]
        result[task] = float(
            (judged.success(task, images[rows].numpy()) == np.array(wanted)).mean()
        )
    return result


def train(work: Path, which: judge.Which, steps: int, batch: int, rate: float, total: int) -> None:
    """Train one judge and save it to ``WORK/judges``."""
    log = common.Log(work / f"judge-{which}.log")
    seed = SEEDS[which]
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    pictures = data.draw_pictures(1000 + seed, total)
    codec = AutoencoderKL.from_pretrained(work / "vae").eval()
    images = through_vae(codec, torch.from_numpy(pictures.images_N_64_64_3), seed)
    wanted = targets(pictures)
    shuffled = torch.randperm(len(images), generator=random)
    held_out, learned = shuffled[:HELD_OUT], shuffled[HELD_OUT:]
    net = judge.JudgeNet(judge.WIDTHS[which]).train()
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=0.02)
    log(f"{which}: {len(images)} pictures, steps={steps} batch={batch} rate={rate} seed={seed}")
    for step in range(steps):
        common.set_rate(optimizer, common.cosine_rate(step, steps, rate))
        chosen = learned[torch.randint(len(learned), (batch,), generator=random)]
        inputs = disturb(vae.to_tensor(images[chosen]), random)
        loss = loss_of(net, inputs, {key: value[chosen] for key, value in wanted.items()})
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 99:
            log(f"step {step + 1} loss {loss.item():.4f}")
    held = data.TrainingPictures(
        images[held_out].numpy(),
        [pictures.captions_N[i] for i in held_out],
        [pictures.tasks_N[i] for i in held_out],
        [pictures.attributes_N[i] for i in held_out],
    )
    log(f"held-out success judged rightly: {accuracy(net, images[held_out], held)}")
    (work / "judges").mkdir(exist_ok=True)
    save_file(net.state_dict(), work / "judges" / f"{which}.safetensors")


def main() -> None:
    """Command line."""
    parser = common.command_line(__doc__, steps=1500, batch=96, rate=2e-3, total=24_000)
    parser.add_argument("--which", choices=sorted(SEEDS), required=True)
    train(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
