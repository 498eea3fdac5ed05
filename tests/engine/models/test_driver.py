"""Every kind of pipeline, driven: its own pictures to the bit, ratio 1, LoRA out and in."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.flux import pipeline_flux_kontext
from diffusers.pipelines.qwenimage import (
    pipeline_qwenimage_edit,
    pipeline_qwenimage_edit_plus,
)
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_parts import qwen_processor
from tiny_pipelines import EDITORS, MAKERS, Folders, opened
from torch import Tensor
from transformers import Qwen2VLProcessor

from hero_engine.config.prompts import Group
from hero_engine.config.settings import LoraSettings, SamplerSettings, Settings, with_changes
from hero_engine.core.errors import HeroError
from hero_engine.models import pipeline_loading
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.encode_pictures import encode_pictures
from hero_engine.models.lora import attach_lora, layer_names
from hero_engine.models.lora_files import diffusers_lora, read_lora
from hero_engine.models.open_model import open_model
from hero_engine.models.pipeline import Model
from hero_engine.models.pipeline_facts import FACTS, facts_of
from hero_engine.models.pipeline_loading import bare_network
from hero_engine.policy.sampler import (
    KeptSteps,
    SampleRequest,
    pick_training_steps,
    sample,
    sample_batches,
)
from hero_engine.updates.denoising_policy import DenoisingPolicy

STEPS, SIZE = 3, 32
SCALE = 4.0
LORA = LoraSettings(rank=2, alpha=2)
NEGATIVE = {"negative_prompt": "bad"}
TRUE = {"true_cfg_scale": SCALE} | NEGATIVE
PLAIN: tuple[dict[str, Any], dict[str, Any]] = (
    {"guidance_scale": 1.0},
    {"guidance_scale": SCALE} | NEGATIVE,
)
CALLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = dict.fromkeys(MAKERS, PLAIN) | {
    "flux": ({"guidance_scale": SCALE}, {"guidance_scale": SCALE}),
    "schnell": ({}, TRUE),
    "kontext": ({"guidance_scale": SCALE, "max_area": SIZE**2},) * 2,
    "flux2": ({"guidance_scale": SCALE}, {"guidance_scale": SCALE}),
    "flux2_klein": ({"guidance_scale": 1.0}, {"guidance_scale": SCALE}),
    "z_image": ({"guidance_scale": 0.0}, {"guidance_scale": SCALE} | NEGATIVE),
    "krea2": ({"guidance_scale": 0.0}, {"guidance_scale": SCALE} | NEGATIVE),
    "qwen_image": ({"true_cfg_scale": 1.0}, TRUE),
    **dict.fromkeys(EDITORS, ({"true_cfg_scale": 1.0}, TRUE)),
    "sana": tuple(each | {"use_resolution_binning": False} for each in PLAIN),
    "pixart_sigma": tuple(each | {"use_resolution_binning": False} for each in PLAIN),
    "hunyuan_image": (NEGATIVE, NEGATIVE),
}  # type: ignore[assignment]
"""What a person calls the pipeline with, for the same pictures: without guidance, and with it."""

ATTENTION = (".to_q", ".to_k", ".to_v", ".to_out.0")

OWN_SCALE = ("qwen_image", "sana", "flux2", "flux2_klein", "krea2")
"""Pipelines that scale latents in another way than by `shift_factor` and `scaling_factor`."""

NO_LORA_LOADER = ("pixart_sigma",)
"""diffusers' pipelines whose network reads no LoRA."""


def sampler(*, guided: bool, eta: float = 0.0) -> SamplerSettings:
    return SamplerSettings(
        steps=STEPS,
        eta=eta,
        guidance=SCALE if guided else 0.0,
        negative_prompt="bad",
        height=SIZE,
        width=SIZE,
    )


@cache
def model_of(folder: Path) -> Model:
    made = open_model(
        str(folder), LORA, "cpu", sampler=sampler(guided=True), prompts="a hand", seed=3
    )
    made.encode([Conditioning("a hand", "bad", SCALE), Conditioning("a hand")])
    return made


@pytest.fixture(params=MAKERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(name: str, folders: Folders) -> Model:
    """Opened once; its LoRA without effect."""
    made = model_of(folders(name))
    for key, weight in made.network.named_parameters():
        if "lora_B" in key:
            weight.data.zero_()
    return made


def conditioning(*, guided: bool) -> Conditioning:
    return Conditioning("a hand", "bad", SCALE if guided else None)


def noises(model: Model) -> Tensor:
    return torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(5))


def own(name: str, pipeline: Any, noise: Tensor, *, guided: bool, **more: Any) -> Any:
    """What the pipeline itself draws from this noise, in its own layout."""
    prepare = pipeline.prepare_latents

    def prepared(*args: Any, **kwargs: Any) -> Any:
        made = prepare(*args, **kwargs)
        return noise if isinstance(made, Tensor) else (noise, *made[1:])

    pipeline.prepare_latents = prepared
    if name == "hunyuan_image":
        from diffusers.guiders import ClassifierFreeGuidance

        guider = ClassifierFreeGuidance(guidance_scale=SCALE, enabled=guided)
        pipeline.guider = pipeline.ocr_guider = guider
    try:
        return pipeline(
            prompt="a hand",
            height=SIZE,
            width=SIZE,
            num_inference_steps=STEPS,
            num_images_per_prompt=len(noise),
            **CALLS[name][guided],
            **more,
        ).images
    finally:
        pipeline.prepare_latents = prepare


def stepped(model: Model, noise: Tensor, *, guided: bool) -> Tensor:
    """The sampler's way without noise in its steps, with the LoRA beside the weights."""
    x = noise
    with torch.no_grad():
        for timestep, previous in zip(*model.process.steps(STEPS), strict=True):
            times = timestep.expand(len(x))
            output = model.predict(x, times, conditioning(guided=guided))
            x, _ = model.process.step(output, times, previous.expand(len(x)), x, 0.0)
    return x


def test_the_pipelines_own_pictures_to_the_bit(name: str, model: Model, folders: Folders) -> None:
    """Guidance off and on, through the sampler, from another copy of the pipeline."""
    pipeline, noise = opened(folders(name)), noises(model)
    seen = []
    for guided in (False, True):
        settings = sampler(guided=guided or model.arguments.embedded)
        batch = sample(model, "a hand", settings, SampleRequest(1, 0, range(2), noise))
        want = own(name, pipeline, model.layout.pack(noise), guided=guided, output_type="np")
        pixels = (want * 255).round().astype(np.uint8)
        assert np.array_equal(model.decode(batch.latents_B_C_H_W), pixels)
        seen.append(stepped(model, noise, guided=guided))
    if not model.arguments.embedded:
        assert not torch.allclose(*seen, atol=1e-5)


@pytest.fixture
def small_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipelines that scale a picture to a megapixel make 80 x 64 of it."""
    monkeypatch.setattr(pipeline_flux_kontext, "PREFERRED_KONTEXT_RESOLUTIONS", [(80, 64)])
    monkeypatch.setattr(pipeline_qwenimage_edit, "calculate_dimensions", lambda *_: (80, 64, None))
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "calculate_dimensions", lambda *_: (80, 64))
    monkeypatch.setattr(Qwen2VLProcessor, "from_pretrained", lambda *_, **__: qwen_processor())
    monkeypatch.setattr(pipeline_loading, "has_torchvision", lambda: True)


@pytest.mark.parametrize("name", ["flux2", "flux2_klein", "kontext", *EDITORS])
def test_an_edited_picture_is_the_pipelines_own_to_the_bit(
    name: str, folders: Folders, tmp_path: Path, small_inputs: None
) -> None:
    """And training sees the input picture: the log-probabilities of sampling come out again."""
    picture = Image.fromarray(
        np.random.default_rng(2).integers(0, 256, (64, 80, 3), np.uint8), "RGB"
    )
    picture.save(tmp_path / "in.png")
    settings = replace(sampler(guided=True, eta=0.0), image=(str(tmp_path / "in.png"),))
    editing = open_model(
        str(folders(name)), LORA, "cpu", sampler=settings, prompts="a hand", seed=3
    )
    noise = noises(editing)
    batch = sample(editing, "a hand", settings, SampleRequest(1, 0, range(2), noise))
    pipeline, packed = opened(folders(name)), editing.layout.pack(noise)
    want = own(name, pipeline, packed, guided=True, output_type="np", image=picture)
    pixels = (want * 255).round().astype(np.uint8)
    assert np.array_equal(editing.decode(batch.latents_B_C_H_W), pixels)
    turned = picture.transpose(Image.Transpose.ROTATE_180)
    other = own(name, pipeline, packed, guided=True, output_type="np", image=turned)
    assert not np.array_equal(other, want)
    moving = replace(settings, eta=0.5)
    kept = pick_training_steps(editing, moving, KeptSteps(2), range(2), 1, 0)
    batch = sample(editing, "a hand", moving, SampleRequest(1, 0, range(2), noise, kept))
    assert batch.trajectory is not None
    with torch.no_grad():
        again = DenoisingPolicy(editing, moving, "a hand").log_probs(batch.trajectory)
    assert torch.allclose(again, batch.trajectory.log_probs_B_S, atol=2e-5)


@pytest.mark.parametrize("name", ["flux2", "kontext", "qwen_edit"])
def test_each_of_two_pictures_has_the_results_that_it_has_alone(
    name: str, folders: Folders, tmp_path: Path, small_inputs: None
) -> None:
    paths = [str(tmp_path / f"{number}.png") for number in range(2)]
    for seed, path in enumerate(paths):
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 80, 3), np.uint8)
        Image.fromarray(pixels, "RGB").save(path)

    def results(images: list[str], groups: list[int], drawn: list[Group]) -> Tensor:
        settings = replace(sampler(guided=True), image=tuple(images))
        model = open_model(str(folders(name)), LORA, "cpu", sampler=settings, prompts=drawn, seed=3)
        noise = noises(model)[:1].repeat(len(groups), 1, 1, 1)
        request = SampleRequest(1, 0, range(len(groups)), noise, groups=torch.tensor(groups))
        (batch,) = sample_batches(model, drawn, settings, request, 2)
        return batch.latents_B_C_H_W

    together = results(paths, [1, 0], [Group("a hand", image=path) for path in paths])
    alone = [results([path], [0], [Group("a hand")])[0] for path in reversed(paths)]
    assert torch.equal(together, torch.stack(alone)) and not torch.equal(*together)


def test_a_pipeline_that_needs_a_picture_or_torchvision_says_so(
    folders: Folders, small_inputs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for said in ("changes a picture: name it with --image FILE", "needs torchvision: pip install"):
        with pytest.raises(HeroError, match=said):
            open_model(str(folders("qwen_edit")), LORA, "cpu", sampler=sampler(guided=True))
        monkeypatch.setattr(pipeline_loading, "has_torchvision", lambda: False)


def test_a_pipeline_without_an_input_picture_refuses_one(folders: Folders, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "in.png")
    settings = replace(sampler(guided=True), image=(str(tmp_path / "in.png"),))
    with pytest.raises(HeroError, match="takes no picture to change"):
        open_model(str(folders("sd2")), LORA, "cpu", sampler=settings, prompts="a hand")


def test_ratio_is_one_before_the_first_step(model: Model) -> None:
    """Rows of different timesteps in one call have the log-probabilities of sampling."""
    settings = sampler(guided=True, eta=0.5)
    kept = pick_training_steps(model, settings, KeptSteps(2), range(2), 1, 0)
    batch = sample(model, "a hand", settings, SampleRequest(1, 0, range(2), noises(model), kept))
    assert batch.trajectory is not None
    with torch.no_grad():
        again = DenoisingPolicy(model, settings, "a hand").log_probs(batch.trajectory)
    assert torch.allclose(again, batch.trajectory.log_probs_B_S, atol=2e-5)


def test_lora_goes_out_to_diffusers_and_back_without_a_difference(
    name: str, model: Model, folders: Folders, tmp_path: Path
) -> None:
    random, noise = torch.Generator().manual_seed(2), noises(model)
    bare = stepped(model, noise, guided=False)
    for weight in model.lora_parameters():
        weight.data = 0.3 * torch.randn(weight.shape, generator=random)
    facts, part, network = bare_network(str(folders(name)))
    state = model.lora_state()
    save_file(diffusers_lora(state, LORA, part), tmp_path / "lora.safetensors")
    found = read_lora(tmp_path / "lora.safetensors", facts, part, network)
    assert found.state.keys() == state.keys()
    assert all(torch.equal(found.state[key], weight) for key, weight in state.items())
    tuned = stepped(model, noise, guided=False)
    assert not torch.allclose(tuned, bare, atol=1e-4)
    if name in NO_LORA_LOADER:
        return
    pipeline, last = opened(folders(name)), list[Tensor]()
    load_lora(pipeline, part, tmp_path / "lora.safetensors")
    step = pipeline.scheduler.step
    pipeline.scheduler.step = lambda *a, **k: last.append((made := step(*a, **k))[0]) or made
    own(name, pipeline, model.layout.pack(noise), guided=False, output_type="latent")
    assert float((model.layout.unpack(last[-1]) - tuned).abs().max()) == 0


def load_lora(pipeline: Any, part: str, path: Path) -> None:
    """By the pipeline's loader; by its network's, where it has none."""
    if hasattr(pipeline, "load_lora_weights"):
        pipeline.load_lora_weights(path.parent, weight_name=path.name)
        return
    getattr(pipeline, part).load_lora_adapter(load_file(path), prefix=part)


def test_gradients_reach_the_lora(model: Model) -> None:
    x = noises(model)
    times = model.process.timesteps_at(torch.tensor([0.3, 0.8]))
    model.predict(x, times, Conditioning("a hand")).square().mean().backward()  # type: ignore[no-untyped-call]
    norms = [float(w.grad.norm()) for w in model.lora_parameters() if w.grad is not None]
    for weight in model.lora_parameters():
        weight.grad = None
    assert sum(norm > 0 for norm in norms) >= len(model.lora_parameters()) // 3


def test_every_attention_has_a_lora_by_default(name: str, folders: Folders) -> None:
    """On its queries, keys, values and output; no block has it under other names."""
    facts, _, network = bare_network(str(folders(name)))
    lora = with_changes(Settings(), {"lora": facts.settings.get("lora", {})}).lora
    layers = layer_names(network)
    kinds = {each: type(part).__name__ for each, part in network.named_modules()}
    attentions = [f"{each}." for each, kind in kinds.items() if re.search("Attn|Attention", kind)]
    with torch.device("meta"):
        attach_lora(network, lora, 0)
    weights = [key for key, _ in network.named_parameters() if ".lora_A." in key]
    trained = {key.split(".lora_A.")[0] for key in weights}
    assert trained >= {each for each in layers if each.endswith(ATTENTION)}
    for attention in attentions:
        inside = {each for each in layers if each.startswith(attention)}
        assert not inside or trained & inside, attention


def test_what_the_table_says_of_a_call(name: str, folders: Folders) -> None:
    """Its arguments are the pipeline's; guidance is off at `off`, and on above it."""
    import diffusers

    kind = json.loads((folders(name) / "model_index.json").read_text())["_class_name"]
    facts, pipeline = facts_of(kind), getattr(diffusers, kind)
    arguments = inspect.signature(pipeline.__call__).parameters
    named = {facts.guidance, facts.embedded, *facts.call} - {"", "guider"}
    assert named <= set(arguments)
    is_guided = getattr(pipeline, "do_classifier_free_guidance", None)
    if is_guided is not None:
        settings = SimpleNamespace(time_cond_proj_dim=None, is_distilled=False)
        part = SimpleNamespace(config=settings)
        made = SimpleNamespace(unet=part, transformer=part, config=settings)
        at = {}
        for made._guidance_scale in (facts.off, facts.off + 0.5):
            at[made._guidance_scale] = bool(is_guided.fget(made))
        assert at == {facts.off: False, facts.off + 0.5: True}


def test_every_row_of_the_table_is_tried(folders: Folders) -> None:
    made = (*MAKERS, *EDITORS)
    indices = (json.loads((folders(name) / "model_index.json").read_text()) for name in made)
    tried = {index["_class_name"] for index in indices}
    assert set(FACTS) <= tried | {"StableDiffusionPipeline"}
    assert not facts_of("OvisImagePipeline").known


def test_a_kind_without_a_row_says_so(folders: Folders) -> None:
    assert any("OvisImagePipeline" in each for each in model_of(folders("ovis_image")).notices)
    assert not any("defaults" in each for each in model_of(folders("z_image")).notices)


def test_pictures_are_encoded_in_the_pipelines_own_scale(name: str, model: Model) -> None:
    """Or refused in one line, where the VAE's configuration does not say the scale."""
    height, width = model.picture_size
    pixels = np.random.default_rng(1).integers(0, 256, (2, height, width, 3), np.uint8)
    if name in OWN_SCALE:
        with pytest.raises(HeroError, match="cannot be imported for this model"):
            encode_pictures(model, pixels)
        return
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        own = model.vae.decode(model.vae.encode(x).latent_dist.mean).sample
    expected = ((own / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1).numpy()
    assert np.abs(model.decode(encode_pictures(model, pixels)) - expected).max() <= 1
