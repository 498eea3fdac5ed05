"""The tokenizer and the text encoder: CLIP's layout, a few hundred tokens.

The vocabulary is a byte-level BPE learned from the captions, so every word can be encoded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

POSITIONS = 20
START, END = "<|startoftext|>", "<|endoftext|>"


def train_tokenizer(captions: Iterable[str], size: int = 600) -> CLIPTokenizer:
    """Learn a CLIP-style byte-level BPE of `size` tokens from captions."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(letters) - 2,
        initial_alphabet=letters,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    bpe.train_from_iterator(captions, trainer)
    learned = json.loads(bpe.to_str())["model"]["merges"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split()) for pair in learned]
    tokens = letters + [letter + "</w>" for letter in letters]
    tokens += [token for token in ("".join(pair) for pair in merges) if token not in tokens]
    vocabulary = {token: index for index, token in enumerate([*dict.fromkeys(tokens), START, END])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=POSITIONS)


def build_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The untrained text encoder: hidden 64, two layers."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=POSITIONS,
        projection_dim=64,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]):  # type: ignore[no-untyped-def]
    """Captions -> token ids (N, POSITIONS)."""
    return tokenizer(
        captions, padding="max_length", truncation=True, max_length=POSITIONS, return_tensors="pt"
    ).input_ids
