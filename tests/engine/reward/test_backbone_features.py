"""What the frozen network sees: of every family, unmoved by LoRA, and enough to tell by."""

import pytest
import torch
from tiny_pipelines import VARIED, Folders
from tiny_runs import tiny_settings

from hero_engine.config.settings import LoraSettings, SamplerSettings
from hero_engine.models.open_model import model_for
from hero_engine.models.pipeline import Model
from hero_engine.reward.backbone_features import LEVELS, BackboneFeatures
from hero_engine.reward.embedding import ranking_auc
from hero_engine.reward.logistic_head import BayesianLogisticHead


def latents(count: int, model: Model, seed: int = 4) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, *model.latent_shape, generator=random)


def stir(model: Model) -> None:
    for weight in model.lora_parameters():
        weight.data = 0.3 * torch.randn(weight.shape)


@pytest.mark.parametrize("name", VARIED)
def test_every_family_has_features(folders: Folders, name: str) -> None:
    sampler = SamplerSettings(steps=3, eta=0.5, guidance=2.0, height=16, width=16)
    lora = LoraSettings(rank=2, alpha=3, targets=("to_q",))
    model = model_for(tiny_settings(folders(name), sampler=sampler, lora=lora), "cpu")
    features = BackboneFeatures(model, "a", 2, 0)
    some = latents(5, model)
    seen = features(some)
    assert seen.shape[0] == 5 and seen.shape[1] >= 8 and seen.dtype == torch.float32
    assert bool(seen.isfinite().all()) and float(seen.std(0).max()) > 1e-4
    stir(model)
    assert torch.equal(features(some), seen)


def test_features_by_hand(square: Model) -> None:
    """Pooled by numpy from what the middle block and the next give out, averaged over levels."""
    some, heard = latents(3, square), list[torch.Tensor]()
    network = square.network
    layers = network.mid_block, network.up_blocks[0]
    hooks = [
        layer.register_forward_hook(lambda _, __, output: heard.append(output.detach()))
        for layer in layers
    ]
    got = BackboneFeatures(square, "a", 3, 7)(some).numpy()
    for hook in hooks:
        hook.remove()
    assert len(heard) == 2 * len(LEVELS)
    parts = [
        part for h in heard for part in (h.numpy().mean((2, 3)), h.numpy().max((2, 3)))
    ]  # by level: mean and maximum of mid, then of up
    width = len(parts) // len(LEVELS)
    by_level = [torch.cat([torch.from_numpy(p) for p in parts[at : at + width]], 1)
                for at in range(0, len(parts), width)]  # fmt: skip
    assert got == pytest.approx(torch.stack(by_level).mean(0).numpy(), abs=1e-5)


def test_batching_and_caching_change_nothing(square: Model) -> None:
    some = latents(7, square)
    whole = BackboneFeatures(square, "a", 7, 0)(some)
    features = BackboneFeatures(square, "a", 2, 0)
    assert torch.allclose(features(some), whole, atol=1e-5)
    assert torch.allclose(features.cached(some[:4]), whole[:4], atol=1e-5)
    asked: list[int] = []
    square.network.register_forward_hook(lambda _, given, __: asked.append(len(given[0])))
    again = torch.tensor([6, 0, 5, 3, 4])
    assert torch.allclose(features.cached(some[again]), whole[again], atol=1e-5)
    assert sum(asked) == 3 * len(LEVELS)


def test_a_head_on_them_separates_pictures(square: Model) -> None:
    """Even of random weights: brighter latents against darker ones, from 60 labels."""
    some = latents(200, square)
    good = torch.arange(200) % 2 == 0
    some[good] += 1
    seen = BackboneFeatures(square, "a", 50, 0)(some)
    chance = BayesianLogisticHead.fit(seen[:60], good[:60], standardise=True)
    auc = ranking_auc(chance(seen[60:]), good[60:])
    assert auc is not None and auc > 0.9
