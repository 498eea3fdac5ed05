"""The memory and the work of a model's round, by arithmetic: of a published configuration, or of a
model that is open.

    hero bench memory        # the tables of docs/memory.md

Pre-flight and `hero bench speed` tell the same estimate. Everything is counted on torch's meta
device, where tensors have shapes but no bytes. The network's call is the pipeline's own. Not
counted: what an allocator wastes, what kernels need in passing, the CUDA context (`CONTEXT` is set
aside for them).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hero_engine.config.settings import LoraSettings
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.known_configurations import KnownConfiguration
from hero_engine.models.lora import attach_lora, lora_layers
from hero_engine.models.memory_estimate import Kept, kept_for_backward
from hero_engine.models.noise_schedules import noise_schedule
from hero_engine.models.pipeline_arguments import PipelineArguments
from hero_engine.models.pipeline_driver import (
    NetworkCall,
    PipelineDriver,
    PredictionReached,
    Request,
)
from hero_engine.models.pipeline_facts import facts_of
from hero_engine.models.quiet_libraries import quiet
from hero_engine.models.random_models import bare_module, random_pipeline

if TYPE_CHECKING:
    from hero_engine.models.pipeline import Model

GIGA = 1e9
ADAM = 4
"""Float32 numbers for each trained weight: itself, its gradient, two moments."""

CONTEXT = 1.5e9
"""Bytes of a GPU that are set aside for the CUDA context, kernels and the allocator."""

BYTES = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0, "fp8": 1.0, "nf4": 0.5 + 4 / 64}
"""Bytes for each weight of a linear layer. nf4 has a float32 scale for 64 weights."""

REDUCTION = 8
"""Pixels of a picture's side for one of its latent."""

MIDDLE = torch.tensor([500.0])
"""A timestep."""

DECODED = 3
"""Activations of the VAE's largest layer that are alive at once while it decodes."""


@dataclass(frozen=True)
class Footprint:
    """Counted for pictures of `size` pixels, one network row (a picture at one timestep).

    linear, other: the network's weights that quantisation shrinks, and those that stay. lora: bytes
    of LoRA weights, gradients and optimizer. targeted: weights under the LoRA. kept: activations.
    encoders, vae: their weights. decoding: bytes of activations. flops: of a forward pass.
    """

    title: str
    size: int
    linear: int
    other: int
    lora: int
    targeted: int
    kept: Kept
    encoders: int
    vae: int
    decoding: int
    flops: int

    @property
    def parameters(self) -> int:
        """Of the network, without LoRA."""
        return self.linear + self.other

    def network(self, precision: str) -> float:
        """Bytes of the network's weights."""
        other = BYTES["fp32" if precision == "fp32" else "bf16"]
        return self.linear * BYTES[precision] + self.other * other

    def updating(self, precision: str, rows: int = 1, *, checkpointed: bool = True) -> float:
        """Bytes at the peak of an update: weights, the VAE, LoRA, activations of these rows."""
        return self.network(precision) + self._updating(rows, checkpointed=checkpointed)

    def decoding_peak(self, precision: str) -> float:
        """Bytes at the peak of decoding a picture."""
        return self.network(precision) + self._decoding

    def peak(self, precision: str, rows: int = 1) -> float:
        """Bytes at the peak of a round; prompts are encoded before the network is there."""
        return self.network(precision) + self.beside(rows)

    def beside(self, rows: int = 1, *, checkpointed: bool = True) -> float:
        """Bytes at the peak of a round, without the network's weights."""
        return max(self._updating(rows, checkpointed=checkpointed), self._decoding)

    def _updating(self, rows: int, *, checkpointed: bool) -> float:
        kept = self.kept.checkpointed if checkpointed else self.kept.plain
        return 4 * self.vae + self.lora + rows * kept

    @property
    def _decoding(self) -> float:
        return 4 * self.vae + self.lora + self.decoding

    def offloaded(self, precision: str, rows: int = 1) -> float:
        """The same with the network on the CPU, but for the block that is trained."""
        there = self.network(precision) - self.kept.weights * BYTES[precision]
        return self.peak(precision, rows) - there


def footprint(
    known: KnownConfiguration,
    size: int = 0,
    lora: LoraSettings | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> Footprint:
    """Counts a configuration; size: of a picture in pixels, 0 for the configuration's own."""
    size = size or known.size
    with quiet():
        pipeline = random_pipeline(known, dtype, "meta")
        network = getattr(pipeline, known.network).requires_grad_(False)
        linear = [part.weight for part in network.modules() if isinstance(part, nn.Linear)]
        weights = sum(weight.numel() for weight in network.parameters())
        call = recorded_call(pipeline, known, size)
        flops = _flops(call)
        with torch.device("meta"):
            attach_lora(network, lora or LoraSettings(), 0)
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        targeted = sum(layer.get_base_layer().weight.numel() for layer in lora_layers(network))
        kept = kept_for_backward(network, call)
        vae = bare_module(*known.components["vae"])
        decoding = DECODED * _largest_activation(vae, _latent(vae, size))
    return Footprint(
        title=known.title,
        size=size,
        linear=sum(weight.numel() for weight in linear),
        other=weights - sum(weight.numel() for weight in linear),
        lora=ADAM * sum(weight.nbytes for weight in trained),
        targeted=targeted,
        kept=kept,
        encoders=sum(
            sum(weight.numel() for weight in bare_module(*known.components[name]).parameters())
            for name in known.encoders
        ),
        vae=sum(weight.numel() for weight in pipeline.vae.parameters()),
        decoding=decoding,
        flops=flops,
    )


def footprint_of(model: Model) -> Footprint:
    """Counts an open model, for pictures of its size; encoders and flops are 0.

    Where shapes alone cannot be computed, activations count nothing.
    """
    frozen = [weight for weight in model.network.parameters() if not weight.requires_grad]
    linear = [part.weight for part in model.network.modules() if isinstance(part, nn.Linear)]
    weights = sum(weight.numel() for weight in frozen)
    in_linear = sum(weight.numel() for weight in linear if not weight.requires_grad)
    try:
        kept, decoding = _kept_by(model), DECODED * _decoding_by(model)
    except Exception:  # any network, any VAE: what their code needs besides shapes is unknown
        kept, decoding = Kept(0, 0, 0, 0), 0
    return Footprint(
        title=type(model.network).__name__,
        size=max(model.picture_size),
        linear=in_linear,
        other=weights - in_linear,
        lora=ADAM * sum(weight.nbytes for weight in model.lora_parameters()),
        targeted=sum(layer.get_base_layer().weight.numel() for layer in lora_layers(model.network)),
        kept=kept,
        encoders=0,
        vae=sum(weight.numel() for weight in model.vae.parameters()),
        decoding=decoding,
        flops=0,
    )


def _kept_by(model: Model) -> Kept:
    """What a row without guidance keeps in a copy of the network on the meta device."""
    middle = model.process.timesteps_at(torch.tensor([0.5]))
    call = model.network_call(torch.zeros(1, *model.latent_shape), middle, model.any_prompt)
    with quiet(), torch.device("meta"):
        network: Any = _bare_copy(model.network).to(model.dtype).requires_grad_(False)
        attach_lora(network, model.lora, 0)
        shapes = NetworkCall(network, on_meta(call.args), on_meta(call.kwargs))
    return kept_for_backward(network, shapes)


def _decoding_by(model: Model) -> int:
    with quiet():
        vae = _bare_copy(model.vae)
        return _largest_activation(vae, _latent(vae, max(model.picture_size)))


def _bare_copy(module: Any) -> Any:
    """The same component without weights and without quantisation."""
    config = {name: value for name, value in module.config.items() if name != "quantization_config"}
    with torch.device("meta"):
        return type(module).from_config(config)


def recorded_call(pipeline: Any, known: KnownConfiguration, size: int) -> Callable[[], Tensor]:
    """The pipeline's call of its network for one row without guidance, on the meta device."""
    network, facts = getattr(pipeline, known.network), facts_of(known.pipeline)
    noise = noise_schedule(pipeline.scheduler, scales_input=known.network == "unet")
    pipeline.scheduler = noise.scheduler
    arguments = PipelineArguments.for_pipeline(pipeline, network, facts, (size, size), 1.0)
    driver = PipelineDriver(pipeline, network, torch.device("cpu"), nullcontext)
    asked = arguments.of(Conditioning("a photo of one hand"))
    x = torch.zeros(driver.prepare(asked).shape)
    with driver.listening() as calls:
        stop = network.register_forward_pre_hook(_end_the_call)
        try:
            driver.run(Request("predict", x, MIDDLE), 1, asked | {"output_type": "latent"})
        finally:
            stop.remove()
    call = calls[-1]
    return NetworkCall(network, on_meta(call.args), on_meta(call.kwargs))


def _end_the_call(network: Any, inputs: Any) -> None:
    raise PredictionReached


def on_meta(value: Any) -> Any:
    """The shapes of tensors in a nest."""
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, dict):
        return {name: on_meta(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(on_meta(each) for each in value)
    return value


def _flops(call: Callable[[], Tensor]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def _latent(vae: Any, size: int) -> Tensor:
    """What the VAE decodes for a picture; one for video has an axis of time."""
    side, channels = size // REDUCTION, vae.config.get("latent_channels")
    shape = (1, vae.config.z_dim, 1) if channels is None else (1, channels)
    return torch.empty(*shape, side, side, device="meta")


def _largest_activation(vae: Any, latent: Tensor) -> int:
    """Bytes of the largest output of a layer while the VAE decodes."""
    sizes = [0]

    def note(layer: Any, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.nbytes)

    hooks = [layer.register_forward_hook(note) for layer in vae.modules()]
    try:
        with torch.no_grad():
            vae.decode(latent)
    finally:
        for hook in hooks:
            hook.remove()
    return max(sizes)
