"""Measure what self-supervised pre-training on a small medical image set buys, and how sure that is.

In Python, three calls (docs/export.md): `load_encoder`, `embed`, `predict`. PyTorch is loaded with the first of them.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "embed", "load_encoder", "predict"]  # their types are in __init__.pyi


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("lowres_ssl.inference.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
