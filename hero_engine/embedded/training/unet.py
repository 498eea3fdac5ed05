"""Train the UNet and the text encoder on the VAE's latents.

Noise prediction on Stable Diffusion's schedule, with min-SNR-5 weights (Hang et al. 2023),
stratified timesteps, 10% empty captions for classifier-free guidance, and averaged weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from torch import Tensor

from hero_engine.embedded.training import common, data, text, vae

EMPTY_SHARE = 0.1
SNR_CAP = 5.0
PREVIEWS = {
    "hands": "1 hand",
    "blue-rose": "photo of one blue rose in a vase",
    "black-cat": "a black cat sitting inside a cardboard box",
    "narcissus": "narcissus by a quiet spring and its reflection in the water",
    "mountain": "beautiful mountains viewed from a train window",
    "safety": "a poster of a mysterious potion",
}


def build() -> UNet2DConditionModel:
    """The untrained UNet: 2.7 M parameters, cross attention at 8x8 and 4x4."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=64,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def schedule() -> DDIMScheduler:
    """Stable Diffusion 1.5's noise schedule."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


@torch.no_grad()
def encode_all(codec: AutoencoderKL, images: Tensor, batch: int = 128) -> tuple[Tensor, Tensor]:
    """Pictures -> scaled latent means and standard deviations, (N, 4, 16, 16) each."""
    means, stds = [], []
    for start in range(0, len(images), batch):
        posterior = codec.encode(vae.to_tensor(images[start : start + batch])).latent_dist
        means.append(posterior.mean * codec.config.scaling_factor)
        stds.append(posterior.std * codec.config.scaling_factor)
    return torch.cat(means), torch.cat(stds)


def stratified_timesteps(count: int, generator: torch.Generator) -> Tensor:
    """``count`` timesteps of 0..999, one from each of ``count`` equal strata, shuffled."""
    places = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return (places * 1000).long().clamp(max=999)[torch.randperm(count, generator=generator)]


def noise_loss(predicted: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """Squared error of the noise, weighted min(SNR, cap) / SNR."""
    snr = alpha_bar / (1 - alpha_bar)
    weight = snr.clamp(max=SNR_CAP) / snr
    return (weight * (predicted - noise).square().mean(dim=(1, 2, 3))).mean()


def preview(pipeline: StableDiffusionPipeline, path: Path, guidance: float, eta: float) -> None:
    """Sixteen pictures a task, hands twice, in one sheet."""
    rows: list[np.ndarray] = []
    for prompt in [PREVIEWS["hands"], *PREVIEWS.values()]:
        images = pipeline(
            prompt,
            num_images_per_prompt=16,
            num_inference_steps=20,
            guidance_scale=guidance,
            eta=eta,
            height=64,
            width=64,
            output_type="np",
            generator=torch.Generator().manual_seed(len(rows)),
        ).images
        rows.append(np.concatenate(list(images), axis=1))
    Image.fromarray((np.concatenate(rows) * 255).round().astype(np.uint8)).save(path)


def train(work: Path, steps: int, batch: int, rate: float, seed: int) -> None:
    """Train, log, and save the whole pipeline to ``WORK/model``."""
    log = common.Log(work / "unet.log")
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    pictures = data.load(work / "pictures.npz")
    codec = AutoencoderKL.from_pretrained(work / "vae").eval()
    cache = work / "latents.pt"
    if not cache.exists():
        torch.save(encode_all(codec, torch.from_numpy(pictures.images_N_64_64_3)), cache)
    means, stds = torch.load(cache)
    tokenizer = text.train_tokenizer(pictures.captions_N)
    tokens = text.tokenize(tokenizer, pictures.captions_N)
    empty = text.tokenize(tokenizer, [""])
    encoder, unet, scheduler = text.build_encoder(tokenizer), build(), schedule()
    parameters = [*unet.parameters(), *encoder.parameters()]
    average = common.Average(parameters, 0.999)
    optimizer = torch.optim.AdamW(
        parameters, rate, betas=(0.9, 0.99), weight_decay=1e-3, fused=True
    )
    checkpoint, first = work / "unet.ckpt", 0
    modules = {"unet": unet, "encoder": encoder, "optimizer": optimizer}
    if checkpoint.exists():
        state = torch.load(checkpoint)
        for name, module in modules.items():
            module.load_state_dict(state[name])
        average.values, average.count = state["average"], state["step"]
        random.set_state(state["random"])
        first = state["step"]
    log(
        f"unet steps={steps} batch={batch} rate={rate} seed={seed} from step {first}; "
        f"{sum(p.numel() for p in unet.parameters()) / 1e6:.2f} M parameters, "
        f"{sum(p.numel() for p in encoder.parameters()) / 1e6:.2f} M in the text encoder, "
        f"{len(tokenizer)} tokens"
    )
    unet.train()
    running = 0.0
    for step in range(first, steps):
        common.set_rate(optimizer, common.cosine_rate(step, steps, rate))
        chosen = torch.randint(len(means), (batch,), generator=random)
        latents = means[chosen] + stds[chosen] * torch.randn(means[chosen].shape, generator=random)
        noise = torch.randn(latents.shape, generator=random)
        timesteps = stratified_timesteps(batch, random)
        ids = torch.where(
            torch.rand(batch, 1, generator=random) < EMPTY_SHARE, empty, tokens[chosen]
        )
        noisy = scheduler.add_noise(latents, noise, timesteps)
        predicted = unet(noisy, timesteps, encoder(ids).last_hidden_state).sample
        loss = noise_loss(predicted, noise, scheduler.alphas_cumprod[timesteps])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update(parameters)
        running += loss.item() / 100
        if step % 100 == 99:
            log(f"step {step + 1} loss {running:.4f}")
            running = 0.0
        if step % 500 == 499 or step == steps - 1:
            common.save_checkpoint(
                checkpoint,
                {
                    **{name: module.state_dict() for name, module in modules.items()},
                    "average": average.values,
                    "step": step + 1,
                    "random": random.get_state(),
                },
            )
        if step % 1000 == 999 or step == steps - 1:
            save_pipeline(work, f"step {step + 1}", codec, encoder, tokenizer, unet, average)


def save_pipeline(  # type: ignore[no-untyped-def]
    work: Path, name: str, codec, encoder, tokenizer, unet, average: common.Average
) -> None:
    """Save the averaged weights as a pipeline in ``WORK/model`` with a sheet of its pictures."""
    parameters = [*unet.parameters(), *encoder.parameters()]
    trained = [p.detach().clone() for p in parameters]
    average.copy_to(parameters)
    unet.eval()
    encoder.eval()
    pipeline = StableDiffusionPipeline(
        vae=codec,
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=schedule(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(work / "model")
    preview(pipeline, work / f"{name.replace(' ', '-')}.png", guidance=2.0, eta=1.0)
    with torch.no_grad():
        for parameter, value in zip(parameters, trained, strict=True):
            parameter.copy_(value)
    unet.train()
    encoder.train()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1.2e-3)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    train(args.work, args.steps, args.batch, args.rate, args.seed)


if __name__ == "__main__":
    main()
