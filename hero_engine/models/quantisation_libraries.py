"""torchao and bitsandbytes: imported only where a network is quantised.

diffusers, transformers and peft import both as soon as they are installed. Every start would take
seconds longer, and torchao would print warnings about the GPU kernels that it does not find. So
they are hidden from these libraries until they are needed.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path

from hero_engine.core.errors import ExitCode, HeroError

HIDDEN = ("torchao", "bitsandbytes")

ASKED = (
    "diffusers.utils.import_utils",
    "transformers.utils.import_utils",
    "peft.import_utils",
    "accelerate.utils.imports",
)
"""Modules that remember what is installed."""

IMPORTERS = {
    "torchao": (
        "diffusers.quantizers.torchao.torchao_quantizer",
        "transformers.integrations.torchao",
        "transformers.quantizers.quantizer_torchao",
    ),
    "bitsandbytes": ("diffusers.quantizers.bitsandbytes.utils",),
}
"""Modules that import a library when they are imported themselves, if it is there then."""

LOGGERS = ("torchao", "torch.utils._pytree")
"""What torchao warns through while it is imported."""


def hide_libraries() -> None:
    """Let no module find them; before diffusers and transformers are imported.

    What is imported already stays.
    """
    for name in HIDDEN:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def is_installed(name: str) -> bool:
    """Whether a library can be imported, hidden or not."""
    return PathFinder.find_spec(name) is not None


def require(name: str, what: str) -> None:
    """Import a library that `what` needs, for diffusers and peft to find.

    HeroError, exit code 3, if it is not installed or cannot be imported.
    """
    if not is_installed(name):
        raise HeroError(f"{what} needs {name}: pip install {name}", exit_code=ExitCode.ENVIRONMENT)
    if name not in sys.modules or sys.modules[name] is None:
        sys.modules.pop(name, None)
        try:
            with _silent():
                importlib.import_module(name)
                _show(name)
        except ImportError as error:
            raise HeroError(
                f"{what} needs {name}, which cannot be imported: {error}",
                exit_code=ExitCode.ENVIRONMENT,
            ) from error


def require_for(component: Path) -> bool:
    """Import what a component was saved with; False where it was not saved quantised.

    HeroError, exit code 3, as for `require`.
    """
    path = component / "config.json"
    config = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    kind = str((config.get("quantization_config") or {}).get("quant_method", ""))
    for name in HIDDEN:
        if kind.startswith(name):
            require(name, f"{component.name}, which was saved quantised,")
    return bool(kind)


def _show(name: str) -> None:
    """Let the modules that were imported while it was hidden find it."""
    for asked in (sys.modules[each] for each in ASKED if each in sys.modules):
        for function in vars(asked).values():
            if hasattr(function, "cache_clear"):
                function.cache_clear()
    diffusers = sys.modules.get("diffusers.utils.import_utils")
    if diffusers is not None:
        found = diffusers._is_package_available(name)
        for end, value in zip(("available", "version"), found, strict=True):
            setattr(diffusers, f"_{name}_{end}", value)
    for importer in IMPORTERS.get(name, ()):
        if importer in sys.modules:
            importlib.reload(sys.modules[importer])


@contextmanager
def _silent() -> Iterator[None]:
    """No warnings of torchao's import."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
