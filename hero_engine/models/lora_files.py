"""LoRA files: the layouts of diffusers and of kohya's scripts (A1111, ComfyUI), out and in.

A pair's effect is (alpha / rank) B A. diffusers' file: `unet.LAYER.lora_A.weight`, the scale in B.
kohya's: `lora_unet_LAYER.lora_down.weight`, `.lora_up.weight` and `.alpha`, with names as
`lora_names` gives them for a UNet (after kohya-ss/sd-scripts, networks/lora.py and
lora_diffusers.py) and `original_names` for a transformer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hero_engine.config.settings import LoraSettings
from hero_engine.core.errors import HeroError, one_line
from hero_engine.models.component_files import fault_of_file
from hero_engine.models.lora import layer_names, targets_of
from hero_engine.models.lora_names import KOHYA, kohya_name
from hero_engine.models.lora_scales import Scales
from hero_engine.models.original_names import (
    TABLES,
    OriginalLayer,
    Pair,
    original_layers,
    stack,
    unstack,
)
from hero_engine.models.pipeline_facts import PipelineFacts
from hero_engine.models.quiet_libraries import quiet

PAIRS = (
    ("lora_A.weight", "lora_B.weight"),
    ("lora_down.weight", "lora_up.weight"),
    ("lora.down.weight", "lora.up.weight"),
    ("down.weight", "up.weight"),
    ("lora_A.default.weight", "lora_B.default.weight"),
    ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
    ("lora_A", "lora_B"),
)
MIDDLE = "lora_mid.weight"
"""LyCORIS: a LoCon's convolution of the layer's size, between two of 1 x 1."""

FOLDER_FILES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
"""What diffusers and peft call the file in a LoRA's folder."""

TEXT_ENCODERS = ("text_encoder", "lora_te", "te1.", "te2.", "text_model.", "bundle_emb.")
OTHER_KINDS = {
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "hada_w1_a": "LoHa",
    "hada_w2_a": "LoHa",
    "lokr_w1": "LoKr",
    "lokr_w2": "LoKr",
    "lokr_w1_a": "LoKr",
    "lokr_w2_a": "LoKr",
    "oft_blocks": "OFT",
    "oft_diag": "OFT",
    "oft_R": "OFT",
    "boft_R": "BOFT",
    "on_input": "IA3",
    "ia3_l": "IA3",
    "vera_lambda_b": "VeRA",
    "a1": "GLoRA",
    "diff": "full-weight difference",
    "diff_b": "full-weight difference",
    "w_norm": "LyCORIS norm",
    "b_norm": "LyCORIS norm",
    "set_weight": "replaced-weight",
    "modules_to_save": "full-weight",
}
"""Words of keys that tell files of other methods, which hero does not train."""


def diffusers_lora(
    state: Mapping[str, Tensor], lora: LoraSettings, network: str = "unet"
) -> dict[str, Tensor]:
    """What `Model.lora_state` gave, as diffusers' `load_lora_weights` reads it.

    network: the pipeline's name for what has the weights. The scale alpha / rank is folded into
    the B matrices, so that no reader needs to know alpha.
    """
    scale = lora.alpha / lora.rank
    return {
        f"{network}.{name}": (weight * scale if ".lora_B." in name else weight).contiguous()
        for name, weight in state.items()
    }


def kohya_lora(
    state: Mapping[str, Tensor], lora: LoraSettings, facts: PipelineFacts, network: Any
) -> dict[str, Tensor]:
    """What `Model.lora_state` gave, as A1111 and ComfyUI read it.

    network: its layers tell the heights of stacked ones; its weights are not looked at. HeroError
    where no names are documented for this kind of model, or for a layer.
    """
    made: dict[str, Tensor] = {}
    for name, pair, alpha in _kohya_layers(_pairs_of(state), lora, facts, network):
        made[f"{name}.lora_down.weight"], made[f"{name}.lora_up.weight"] = pair
        made[f"{name}.alpha"] = torch.tensor(float(alpha))
    return made


def _pairs_of(state: Mapping[str, Tensor]) -> dict[str, Pair]:
    ends = ".lora_A.weight"
    layers = [name.removesuffix(ends) for name in state if name.endswith(ends)]
    return {each: (state[each + ends], state[f"{each}.lora_B.weight"]) for each in layers}


def _kohya_layers(
    pairs: dict[str, Pair], lora: LoraSettings, facts: PipelineFacts, network: Any
) -> Iterator[tuple[str, Pair, float]]:
    """Name, weights and alpha of each layer of the file."""
    if facts.kohya not in TABLES:
        for layer, pair in pairs.items():
            name = kohya_name(layer, facts.kohya)
            if not name:
                raise _undocumented(facts)
            yield name, pair, lora.alpha
        return
    rows, left = _rows(network), dict(pairs)
    for original in original_layers(facts.kohya, list(rows)):
        given = [left.pop(part, None) for part in original.parts]
        count = sum(pair is not None for pair in given)
        if count:
            pair = stack(given, [rows[part] for part in original.parts])
            yield KOHYA + original.name.replace(".", "_"), pair, lora.alpha * count
    if left:
        raise HeroError(
            f"--format kohya: no name is documented for {min(left)} of {facts.title}; train "
            "without this layer (lora.targets), or write --format diffusers"
        )


def _undocumented(facts: PipelineFacts) -> HeroError:
    return HeroError(
        f"--format kohya: no such layout is documented for {facts.title}; write --format diffusers"
    )


def _rows(network: Any) -> dict[str, int]:
    """The outputs of each layer that can have LoRA weights."""
    return {name: len(network.get_submodule(name).weight) for name in layer_names(network)}


@dataclass(frozen=True)
class FoundLora:
    """Someone's LoRA, as a run begins with it.

    state: as `Model.lora_state`, float32. lora: settings that fit it, with alpha = rank: any other
    scale is in the B matrices. left_out: tensors of text encoders, which hero does not train.
    """

    state: dict[str, Tensor]
    lora: LoraSettings
    left_out: int


def read_lora(path: Path, facts: PipelineFacts, part: str, network: Any) -> FoundLora:
    """A LoRA file in any layout, for this network (its weights are not looked at).

    path: also a folder that diffusers or peft wrote, or a run. part: what the pipeline calls the
    network. HeroError, exit code 2, if it cannot be read, does not fit, has NaN, or is of
    another method.
    """
    path = _file_of(path)
    tensors, scales = _contents(path, part)
    text = {name for name in tensors if name.startswith(TEXT_ENCODERS)}
    _refuse_nan(path, tensors)
    rest = {name: tensor.float() for name, tensor in tensors.items() if name not in text}
    _check_kind(path, rest)
    if text and not rest:
        raise HeroError(f"{path} has text encoders alone, which hero does not train")
    file, left = _LoraFile(path, facts, part, network), dict(rest)
    state = file.matched(left, scales)
    if state is None:
        converted = _converted(rest, facts)
        state = file.matched(converted, Scales()) if converted else None
    if state is None:
        odd = f"it has {min(left)}" if len(left) < len(rest) else "it has none of its layers"
        raise HeroError(f"{path} is no LoRA for this model ({facts.title}): {odd}")
    return FoundLora(_one_rank(state), _settings(state, network), len(text))


def _file_of(path: Path) -> Path:
    """The file of a LoRA's folder, a run's newest checkpoint; any other path is itself."""
    if not path.is_dir():
        return path
    for name in FOLDER_FILES:
        if (path / name).is_file():
            return path / name
    checkpoints = sorted((path / "checkpoints").glob("r*/lora.safetensors"))
    if checkpoints:
        return checkpoints[-1]
    raise HeroError(
        f"{path} is a folder without {' or '.join(FOLDER_FILES)}, and no run with a finished "
        "round: give the LoRA file itself"
    )


def _contents(path: Path, part: str) -> tuple[dict[str, Tensor], Scales]:
    """The tensors, and the scales that are declared for the network."""
    from safetensors import SafetensorError, safe_open

    if fault := fault_of_file(path):
        raise HeroError(f"the LoRA {path} {fault}")
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, Scales.declared(path, file.metadata() or {}, part)
    except (OSError, SafetensorError, LookupError, ValueError, TypeError) as error:
        reason = one_line(error) if path.exists() else "there is no such file"
        raise HeroError(f"cannot read the LoRA {path}: {reason}") from error


def _check_kind(path: Path, tensors: Iterable[str]) -> None:
    for name in tensors:
        for word in name.split("."):
            if kind := OTHER_KINDS.get(word):
                article = "an" if kind[0] in "IO" else "a"
                raise HeroError(f"{path} is {article} {kind} file ({name}); hero trains plain LoRA")


def _refuse_nan(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not bool(tensor.float().isfinite().all()):
            raise HeroError(f"{path} has NaN or infinity in {name}")


@dataclass(frozen=True)
class _LoraFile:
    """A file that is matched with a network. part: what the pipeline calls the network."""

    path: Path
    facts: PipelineFacts
    part: str
    network: Any

    def matched(self, rest: dict[str, Tensor], scales: Scales) -> dict[str, Tensor] | None:
        """Every tensor under the network's own names, scales in B; None if one is left over.

        rest: the file's tensors; those that are matched are taken out.
        """
        names, state = layer_names(self.network), dict[str, Tensor]()
        for layer in names:
            for base in self._bases(layer):
                if pair := _taken(rest, base, layer, scales):
                    self._keep(state, layer, pair)
        for original in original_layers(self.facts.kohya, names):
            for base in _original_bases(original.name):
                if pair := _taken(rest, base, original.parts[0], scales):
                    self._keep_parts(state, original, pair)
        return state if state and not rest else None

    def _keep(self, state: dict[str, Tensor], layer: str, pair: Pair) -> None:
        A, B = pair
        weight = self.network.get_submodule(layer).weight
        if A.dim() != weight.dim():
            A, B = (_like_weight(each, weight.dim()) for each in pair)
        fits = A.shape[1:] == weight.shape[1:] and B.shape[0] == weight.shape[0]
        if not fits or A.dim() != B.dim() or len(A) != B.shape[1]:
            raise self._other_model(layer, pair, tuple(weight.shape))
        state[f"{layer}.lora_A.weight"], state[f"{layer}.lora_B.weight"] = A, B

    def _keep_parts(self, state: dict[str, Tensor], original: OriginalLayer, pair: Pair) -> None:
        rows = [len(self.network.get_submodule(part).weight) for part in original.parts]
        if len(pair[1]) != sum(rows):
            raise self._other_model(original.name, pair, (sum(rows),))
        for part, each in zip(original.parts, unstack(pair, rows), strict=True):
            if each is not None:
                self._keep(state, part, each)

    def _other_model(self, layer: str, pair: Pair, shape: tuple[int, ...]) -> HeroError:
        A, B = (tuple(each.shape) for each in pair)
        return HeroError(
            f"{self.path} is a LoRA for another model: its {layer} is {B} times {A}, this model's "
            f"{shape}"
        )

    def _bases(self, layer: str) -> Iterator[str]:
        """What a layer's tensors may be called, without their ends.

        diffusers' names, peft's, kohya's, OneTrainer's, SimpleTuner's, and those of attention
        processors: "attn1.to_out.0" is "attn1.processor.to_out_lora" there.
        """
        part = self.part
        for name in (layer, f"base_model.model.{layer}"):
            yield from (f"{part}.{name}", name, f"diffusion_model.{name}")
        yield from (f"base_model.model.{start}.{layer}" for start in (part, "diffusion_model"))
        if kohya := kohya_name(layer, self.facts.kohya):
            yield kohya
        starts = (f"lora_{part}_", "lora_unet_", "lora_transformer_", "lycoris_")
        for start in dict.fromkeys(starts):
            yield start + layer.replace(".", "_")
        block, _, last = layer.removesuffix(".0").rpartition(".")
        for start in ("", f"{part}."):
            yield f"{start}{block}.processor.{last}_lora"
            yield f"{start}{block}.{last}_lora"


def _original_bases(name: str) -> Iterator[str]:
    """What an original layer's tensors may be called, without their ends."""
    yield KOHYA + name.replace(".", "_")
    yield from (f"{start}{name}" for start in ("diffusion_model.", "base_model.model.", ""))


def _like_weight(matrix: Tensor, axes: int) -> Tensor:
    """A matrix as a 1 x 1 convolution, or the other way round; any other stays as it is."""
    if matrix.dim() == 4 and axes == 2 and matrix.shape[2:] == (1, 1):
        return matrix[:, :, 0, 0].contiguous()
    return matrix[:, :, None, None].contiguous() if matrix.dim() == 2 and axes == 4 else matrix


def _taken(
    rest: dict[str, Tensor], base: str, layer: str, scales: Scales
) -> tuple[Tensor, Tensor] | None:
    """Take A and B of a layer out of what is left of the file, B with the file's scale in it."""
    for down, up in PAIRS:
        if f"{base}.{down}" in rest and f"{base}.{up}" in rest:
            A, B = rest.pop(f"{base}.{down}"), rest.pop(f"{base}.{up}")
            if _is_middle(rest.get(f"{base}.{MIDDLE}"), A):
                A = torch.einsum("mrhw,ri->mihw", rest.pop(f"{base}.{MIDDLE}"), A.flatten(1))
            alpha = rest.pop(f"{base}.alpha", None)
            factor = scales.factor(layer, len(A)) if alpha is None else float(alpha) / len(A)
            return A, B if factor == 1 else B * factor
    return None


def _is_middle(middle: Tensor | None, A: Tensor) -> bool:
    """Whether a convolution can follow A; both are then one."""
    rank = len(A)
    return middle is not None and middle.dim() == 4 and middle.shape[:2] == (rank, rank)


def _converted(tensors: Mapping[str, Tensor], facts: PipelineFacts) -> dict[str, Tensor]:
    """The file as diffusers' own conversion of other programs' names has it; empty without one."""
    with quiet():
        import diffusers

        pipeline = getattr(diffusers, facts.pipeline, None)
        convert = getattr(pipeline, "lora_state_dict", None)
        if convert is None:
            return {}
        try:
            made = convert(dict(tensors))
        except Exception:
            # The converters assert, index and split whatever they expect: names that they do not
            # know end in an error of any type, and the file is then refused by its keys.
            return {}
    return dict(made[0] if isinstance(made, tuple) else made)


def _one_rank(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All layers at the largest rank: more rows of A, small and random, times columns of 0 in B."""
    rank, random = _rank(state), torch.Generator().manual_seed(0)
    return {name: _widened(name, weight, rank, random) for name, weight in state.items()}


def _widened(name: str, weight: Tensor, rank: int, random: torch.Generator) -> Tensor:
    if "lora_A" in name:
        more = torch.randn(rank - len(weight), *weight.shape[1:], generator=random) / rank
        return torch.cat([weight, more]).contiguous()
    none = weight.new_zeros(len(weight), rank - weight.shape[1], *weight.shape[2:])
    return torch.cat([weight, none], 1).contiguous()


def _rank(state: Mapping[str, Tensor]) -> int:
    return max(len(weight) for name, weight in state.items() if "lora_A" in name)


def _settings(state: Mapping[str, Tensor], network: Any) -> LoraSettings:
    """The largest rank for all, and the layers' names as targets."""
    layers = [n.removesuffix(".lora_A.weight") for n in state if n.endswith(".lora_A.weight")]
    rank = _rank(state)
    return LoraSettings(rank=rank, alpha=rank, targets=targets_of(layers, network))
