"""Train the VAE: 64x64x3 pictures <-> 4x16x16 latents.

Small on purpose (0.65 M parameters, no attention). Outlines decide whether fingers can be
counted, so the loss adds the difference of neighbouring pixels to L1 and squared error.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from hero_engine.embedded.training_scripts import common, data

GRADIENT_WEIGHT = 1.0
SQUARE_WEIGHT = 2.0
KL_WEIGHT = 5e-4


def build() -> AutoencoderKL:
    """The untrained VAE."""
    channels = (16, 32, 64)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
    )


def to_tensor(images_B_64_64_3: Tensor) -> Tensor:
    """uint8 pictures -> float (B, 3, 64, 64) in [-1, 1]."""
    return images_B_64_64_3.permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()


def picture_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """L1, squared error and the L1 of horizontal and vertical differences."""
    error = made - wanted
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return (
        error.abs().mean()
        + SQUARE_WEIGHT * error.square().mean()
        + GRADIENT_WEIGHT * (across + down)
    )


def psnr(made: Tensor, wanted: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for pictures in [-1, 1]."""
    return float(10 * torch.log10(4 / (made - wanted).square().mean()))


@torch.no_grad()
def held_out_psnr(vae: AutoencoderKL, pictures: Tensor) -> float:
    """PSNR of encode-decode (mode) on pictures that were not trained on."""
    made = vae.decode(vae.encode(pictures).latent_dist.mode()).sample
    return psnr(made, pictures)


def train(work: Path, steps: int, batch: int, rate: float, seed: int) -> None:
    """Train, log, and save to ``WORK/vae``."""
    log = common.Log(work / "vae.log")
    torch.manual_seed(seed)
    images = torch.from_numpy(data.load(work / "pictures.npz").images_N_64_64_3)
    random = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(images), generator=random)
    held_out = to_tensor(images[shuffled[:128]])
    shuffled = shuffled[128:]
    vae = build()
    average = common.Average(list(vae.parameters()), 0.998)
    optimizer = torch.optim.AdamW(vae.parameters(), rate, betas=(0.9, 0.99), weight_decay=1e-4)
    parts = {"vae": vae, "optimizer": optimizer}
    checkpoint = common.Checkpoint(work / "vae.ckpt", parts, average, random)
    first = checkpoint.load()
    log(f"vae steps={steps} batch={batch} rate={rate} seed={seed} from step {first}")
    for step in range(first, steps):
        common.set_rate(optimizer, common.cosine_rate(step, steps, rate))
        chosen = shuffled[torch.randint(len(shuffled), (batch,), generator=random)]
        wanted = to_tensor(images[chosen])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            posterior = vae.encode(wanted).latent_dist
            made = vae.decode(posterior.mean + posterior.std * torch.randn_like(posterior.mean))
        loss = picture_loss(made.sample.float(), wanted)
        kl = (
            0.5
            * (
                posterior.mean.float().square()
                + posterior.var.float()
                - 1
                - posterior.logvar.float()
            ).mean()
        )
        (loss + KL_WEIGHT * kl).backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update(list(vae.parameters()))
        if step % 100 == 99:
            log(
                f"step {step + 1} loss {loss.item():.4f} kl {kl.item():.2f}"
                f" psnr {psnr(made.sample.float().detach(), wanted):.2f}"
            )
        if step % 500 == 499 or step == steps - 1:
            checkpoint.save(step + 1)
    average.copy_to(list(vae.parameters()))
    vae.register_to_config(scaling_factor=latent_scale(vae, held_out))
    log(
        f"held-out psnr {held_out_psnr(vae, held_out):.2f} dB,"
        f" scaling factor {vae.config.scaling_factor:.4f}"
    )
    vae.save_pretrained(work / "vae")


@torch.no_grad()
def latent_scale(vae: AutoencoderKL, pictures: Tensor) -> float:
    """1 / std of the latents, so that the UNet sees unit variance."""
    return float(1 / vae.encode(pictures).latent_dist.mode().std())


def main() -> None:
    """Command line."""
    parser = common.command_line(__doc__, steps=1900, batch=32, rate=2.5e-3, seed=2)
    train(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
