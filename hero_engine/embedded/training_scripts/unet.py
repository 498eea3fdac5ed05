"""Train the UNet and the text encoder on the VAE's latents.

Noise prediction on Stable Diffusion's schedule, with min-SNR-5 weights (Hang et al. 2023),
stratified timesteps, 10% empty captions for classifier-free guidance, and averaged weights.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from hero_engine.config.tasks import list_tasks, load_task
from hero_engine.embedded.training_scripts import common, data, text, vae
from hero_engine.storage.atomic_files import read_tensors, write_tensors

EMPTY_SHARE = 0.1
SNR_CAP = 5.0


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


def latents_in(cache: Path) -> tuple[Tensor, Tensor]:
    """Read what `encode_all` wrote."""
    kept = read_tensors(cache)
    return kept["means"], kept["stds"]


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
    for task in (load_task("hands"), *list_tasks()):
        images = pipeline(
            task.prompt,
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


class Training:
    """A UNet and its text encoder in training on the latents of captioned pictures."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        captions: list[str],
        latents: tuple[Tensor, Tensor],
        seed: int,
        decay: float,
        fused: bool = False,
    ) -> None:
        """``latents`` are means and standard deviations, ``decay`` that of the averaged weights."""
        self.unet, self.encoder = unet.train(), encoder.train()
        self.parameters = [*unet.parameters(), *encoder.parameters()]
        self.average = common.Average(self.parameters, decay)
        self.optimizer = torch.optim.AdamW(
            self.parameters, betas=(0.9, 0.99), weight_decay=1e-3, fused=fused
        )
        self.random = torch.Generator().manual_seed(seed)
        self._means, self._stds = latents
        self._tokens = text.tokenize(tokenizer, captions)
        self._empty = text.tokenize(tokenizer, [""])
        self._scheduler = schedule()

    def run(
        self,
        choose: Callable[[], Tensor],
        steps: range,
        rate: float,
        log: common.Log,
        after: Callable[[int], None] = lambda step: None,
    ) -> None:
        """Train on the pictures that ``choose`` names at each step; ``after`` is called after each.

        ``steps`` may begin in the middle: the learning rate goes by the number of the step.
        """
        running = 0.0
        for step in steps:
            common.set_rate(self.optimizer, common.cosine_rate(step, steps.stop, rate))
            loss = self.loss(choose())
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.average.update(self.parameters)
            running += loss.item() / 100
            if step % 100 == 99:
                log(f"step {step + 1} loss {running:.4f}")
                running = 0.0
            after(step + 1)

    def loss(self, chosen: Tensor) -> Tensor:
        """The loss on the pictures ``chosen``, with fresh latents, noise and empty captions."""
        means, random = self._means[chosen], self.random
        latents = means + self._stds[chosen] * torch.randn(means.shape, generator=random)
        noise = torch.randn(latents.shape, generator=random)
        timesteps = stratified_timesteps(len(chosen), random)
        dropped = torch.rand(len(chosen), 1, generator=random) < EMPTY_SHARE
        ids = torch.where(dropped, self._empty, self._tokens[chosen])
        noisy = self._scheduler.add_noise(latents, noise, timesteps)
        predicted = self.unet(noisy, timesteps, self.encoder(ids).last_hidden_state).sample
        return noise_loss(predicted, noise, self._scheduler.alphas_cumprod[timesteps])


def train(work: Path, steps: int, batch: int, rate: float, seed: int) -> None:
    """Train, log, and save the whole pipeline to ``WORK/model``."""
    log = common.Log(work / "unet.log")
    torch.manual_seed(seed)
    pictures = data.load(work / "pictures.npz")
    codec = AutoencoderKL.from_pretrained(work / "vae").eval()
    cache = work / "latents.safetensors"
    if not cache.exists():
        means, stds = encode_all(codec, torch.from_numpy(pictures.images_N_64_64_3))
        write_tensors(cache, {"means": means, "stds": stds})
    tokenizer = text.train_tokenizer(pictures.captions_N)
    encoder, unet = text.build_encoder(tokenizer), build()
    training = Training(
        unet,
        encoder,
        tokenizer,
        pictures.captions_N,
        latents_in(cache),
        seed,
        0.999,
        fused=True,
    )
    average, random = training.average, training.random
    parts = {"unet": unet, "encoder": encoder, "optimizer": training.optimizer}
    checkpoint = common.Checkpoint(work / "unet.ckpt", parts, average, random)
    first = checkpoint.load()
    log(
        f"unet steps={steps} batch={batch} rate={rate} seed={seed} from step {first}; "
        f"{sum(p.numel() for p in unet.parameters()) / 1e6:.2f} M parameters, "
        f"{sum(p.numel() for p in encoder.parameters()) / 1e6:.2f} M in the text encoder, "
        f"{len(tokenizer)} tokens"
    )

    def choose() -> Tensor:
        return torch.randint(len(pictures), (batch,), generator=random)

    def save(step: int) -> None:
        if step % 500 == 0 or step == steps:
            checkpoint.save(step)
        if step % 1000 == 0 or step == steps:
            save_pipeline(work, f"step {step}", codec, encoder, tokenizer, unet, average)

    training.run(choose, range(first, steps), rate, log, after=save)


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
    parser = common.command_line(__doc__, steps=3600, batch=64, rate=1.2e-3, seed=3)
    train(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
