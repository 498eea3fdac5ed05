"""Prompts longer than a text encoder reads: which words are cut off.

diffusers warns of some of them in its log, which the app does not show.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Listening:
    """A tokenizer that notes what it cuts off; in all else it is the tokenizer."""

    def __init__(self, tokenizer: Any, name: str, notices: list[str]) -> None:
        self._tokenizer, self._name, self._notices = tokenizer, name, notices

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)

    def __call__(self, text: Any, *args: Any, **kwargs: Any) -> Any:
        made = self._tokenizer(text, *args, **kwargs)
        if kwargs.get("truncation"):
            length = kwargs.get("max_length") or self._tokenizer.model_max_length
            for each in [text] if isinstance(text, str) else text:
                self._note(each, int(length))
        return made

    def _note(self, text: str, length: int) -> None:
        tokens = self._tokenizer(text, truncation=False)["input_ids"]
        if len(tokens) <= length:
            return
        special = set(self._tokenizer.all_special_ids)
        ends = sum(token in special for token in tokens[-2:])
        lost = [token for token in tokens[length - ends :] if token not in special]
        words = self._tokenizer.decode(lost).strip()
        sentence = (
            f"the prompt is too long for {self._name}, which reads {length} tokens and does not "
            f"see: {words}"
        )
        if words and sentence not in self._notices:
            self._notices.append(sentence)


@contextmanager
def noting_truncations(pipeline: Any, notices: list[str]) -> Iterator[None]:
    """Add a sentence to `notices` for each prompt that is cut, as long as the block lasts."""
    parts = vars(pipeline)
    own = {
        name: part
        for name, part in parts.items()
        if name.startswith("tokenizer") and hasattr(part, "all_special_ids")
    }
    parts.update({name: Listening(part, name, notices) for name, part in own.items()})
    try:
        yield
    finally:
        parts.update(own)
