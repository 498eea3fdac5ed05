"""A pipeline of a published configuration with random weights, for measuring without a download.

The network and the VAE have their true shapes. Text encoders have the true width of their states
and are small otherwise: a prompt is encoded once, before anything is measured.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from hero_engine.models.known_configurations import KnownConfiguration

VOCABULARY = 300
"""Tokens of the small encoders: every byte, and a few special ones."""

SMALL: Mapping[str, Any] = {
    "vocab_size": VOCABULARY,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "d_ff": 16,
    "d_kv": 8,
    "num_heads": 2,
    "num_layers": 1,
    "depth": 1,
}
"""What is smaller in a text encoder: nothing that its output's shape depends on."""

FEW_LAYERS = 2
"""Some pipelines read the one before the last."""

SCALE = 0.02
"""Standard deviation of random weights: the initial one of most of these networks."""

CHAT = (
    "{% for m in messages %}{{ m['role'] }}: "
    "{{ m['content'] if m['content'] is string else m['content'][0]['text'] }}\n{% endfor %}"
)


def random_pipeline(known: KnownConfiguration, dtype: torch.dtype, device: str = "cpu") -> Any:
    """The pipeline on the CPU; its VAE in float32.

    device: of the network; "meta" for shapes without weights, the VAE's then undefined.
    """
    import diffusers

    parts = {name: _part(known, name, dtype, device) for name in known.components}
    more = dict(known.more)
    if known.pipeline == "StableDiffusionPipeline":
        more |= {"safety_checker": None, "feature_extractor": None}
        more["requires_safety_checker"] = False
    if known.pipeline == "StableDiffusionXLPipeline":
        more["add_watermarker"] = False
    return getattr(diffusers, known.pipeline)(**parts, **more)


def _part(known: KnownConfiguration, name: str, dtype: torch.dtype, device: str) -> Any:
    library, kind, config = known.components[name]
    if name.startswith("tokenizer"):
        return byte_tokenizer(config["model_max_length"], clip=kind.startswith("CLIP"))
    if name.startswith("scheduler"):
        return getattr(importlib.import_module(library), kind).from_config(config)
    if name == "vae" and device == "meta":  # pipelines read its statistics
        return bare_module(library, kind, config).to_empty(device="cpu").eval()
    where = device if name == known.network else "cpu"
    return random_module(library, kind, config, torch.float32 if name == "vae" else dtype, where)


def bare_module(library: str, kind: str, config: Mapping[str, Any]) -> Any:
    """A component on the meta device: shapes without weights."""
    made: Any = getattr(importlib.import_module(library), kind)
    with torch.device("meta"):
        if library == "diffusers":
            return made.from_config(dict(config))
        return made(made.config_class(**config))


def random_module(
    library: str, kind: str, config: Mapping[str, Any], dtype: torch.dtype, device: str
) -> Any:
    """A component with random weights; a text encoder is a small one."""
    if library == "transformers":
        made: Any = getattr(importlib.import_module(library), kind)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return made(made.config_class(**small(kind, config))).to(dtype).eval()
    module = bare_module(library, kind, config).to(dtype)
    return (module if device == "meta" else _filled(module, config, kind)).eval()


def small(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A text encoder's configuration with less in it."""
    less = {
        name: small(kind, value) if isinstance(value, Mapping) else SMALL.get(name, value)
        for name, value in config.items()
    }
    if kind != "Qwen3ForCausalLM" and "num_hidden_layers" in config:  # Flux.2-klein reads layer 27
        less["num_hidden_layers"] = FEW_LAYERS
    if kind.startswith("CLIP"):
        less |= {"eos_token_id": 1, "pad_token_id": 1}
    if "mrope_section" in config.get("rope_scaling", {}):  # sections of a head of this many
        less["num_attention_heads"] = config["num_attention_heads"]
    return less


def _filled(module: nn.Module, config: Mapping[str, Any], kind: str) -> nn.Module:
    """Random weights in the module's own precision; scales of norms stay 1.

    Buffers (tables of positions) come from a second module on the CPU without its weights.
    """
    tables = _buffers(kind, config)
    module = module.to_empty(device="cpu")
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, SCALE, generator=random)
            else:
                weight.fill_(float(name.endswith("weight")))
        for name, table in module.named_buffers():
            table.copy_(tables(name, table))
    return module


def _buffers(kind: str, config: Mapping[str, Any]) -> Callable[[str, torch.Tensor], torch.Tensor]:
    """What a buffer holds: statistics of a batch norm, or positions by sine and cosine."""

    def of(name: str, table: torch.Tensor) -> torch.Tensor:
        if name.endswith("running_var"):
            return torch.ones_like(table)
        if table.ndim == 3 and "pos_embed" in name:
            from diffusers.models.embeddings import get_2d_sincos_pos_embed

            side = int(table.shape[1] ** 0.5)
            made: Any = get_2d_sincos_pos_embed(table.shape[2], side, output_type="pt")
            return torch.as_tensor(made)[None].to(table)
        return torch.zeros_like(table)

    return of


def byte_tokenizer(length: int, *, clip: bool = False) -> Any:
    """A byte a token, with a chat template; for CLIP also a begin and an end."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    begin, end = "<|startoftext|>", "<|endoftext|>"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([begin, end, *letters])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=end))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    if clip:
        inner.post_processor = TemplateProcessing(
            single=f"{begin} $A {end}", special_tokens=[(begin, 0), (end, 1)]
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token=begin,
        eos_token=end,
        unk_token=end,
        pad_token=end,
        model_max_length=length,
    )
    made.chat_template = CHAT
    return made
