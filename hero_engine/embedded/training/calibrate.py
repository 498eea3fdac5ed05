"""A last, short training that moves the base success of tasks into the middle of 20% to 50%.

Diffusion training with a family caption does not reproduce the drawn shares exactly (black cats in
a box came out at one in ten, whole hands at more than four in ten). Pictures with a family caption
are drawn more or less often according to ``ODDS``, everything else as before.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from hero_engine.embedded.drawing import cat, hands, is_success, rose
from hero_engine.embedded.training import common, data, text, unet

ODDS = {
    "hands": (hands.FAMILY, 0.55),
    "black-cat": (cat.FAMILY, 4.0),
    "blue-rose": (rose.FAMILY, 1.8),
}
"""Task -> its family captions, and by what the odds of success among their pictures change."""


def weights_of(pictures: data.Pictures) -> torch.Tensor:
    """(N,) how often each picture is drawn, 1 being as before; a family's total stays the same."""
    weights = torch.ones(len(pictures))
    for task, (captions, odds) in ODDS.items():
        rows = [
            row
            for row, (of, caption) in enumerate(
                zip(pictures.tasks_N, pictures.captions_N, strict=True)
            )
            if of == task and caption in captions
        ]
        success = torch.tensor([is_success(task, pictures.attributes_N[row]) for row in rows])
        wanted = torch.where(success, odds, 1.0)
        weights[rows] = wanted / wanted.mean()
    return weights


def train(work: Path, steps: int, batch: int, rate: float, seed: int) -> None:
    """Train ``WORK/model`` on and replace it; the log is ``WORK/calibrate.log``."""
    log = common.Log(work / "calibrate.log")
    random = torch.Generator().manual_seed(seed)
    pictures = data.load(work / "pictures.npz")
    means, stds = torch.load(work / "latents.pt")
    weights = weights_of(pictures)
    pipeline = StableDiffusionPipeline.from_pretrained(work / "model", safety_checker=None)
    tokens = text.tokenize(pipeline.tokenizer, pictures.captions_N)
    empty = text.tokenize(pipeline.tokenizer, [""])
    net, encoder = pipeline.unet.train(), pipeline.text_encoder.train()
    parameters = [*net.parameters(), *encoder.parameters()]
    average = common.Average(parameters, 0.99)
    optimizer = torch.optim.AdamW(parameters, rate, betas=(0.9, 0.99), weight_decay=1e-3)
    alphas, scheduler = pipeline.scheduler.alphas_cumprod, unet.schedule()
    log(f"calibrate steps={steps} batch={batch} rate={rate} seed={seed}; odds "
        f"{ {task: odds for task, (_, odds) in ODDS.items()} }")  # fmt: skip
    running = 0.0
    for step in range(steps):
        common.set_rate(optimizer, common.cosine_rate(step, steps, rate))
        chosen = torch.multinomial(weights, batch, generator=random)
        latents = means[chosen] + stds[chosen] * torch.randn(means[chosen].shape, generator=random)
        noise = torch.randn(latents.shape, generator=random)
        timesteps = unet.stratified_timesteps(batch, random)
        dropped = torch.rand(batch, 1, generator=random) < unet.EMPTY_SHARE
        ids = torch.where(dropped, empty, tokens[chosen])
        noisy = scheduler.add_noise(latents, noise, timesteps)
        predicted = net(noisy, timesteps, encoder(ids).last_hidden_state).sample
        loss = unet.noise_loss(predicted, noise, alphas[timesteps])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update(parameters)
        running += loss.item() / 100
        if step % 100 == 99:
            log(f"step {step + 1} loss {running:.4f}")
            running = 0.0
    average.copy_to(parameters)
    pipeline.save_pretrained(work / "model")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    train(args.work, args.steps, args.batch, args.rate, args.seed)


if __name__ == "__main__":
    main()
