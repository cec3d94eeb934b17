"""Self-supervised methods: an encoder's features in, a loss out. One file a method, found by its name.

A method wires heads and says which loss is taken of what; the losses themselves are in `lowres_ssl.losses`. It sees no
label. Its constructor takes `features` (the encoder's output, D) and what `conf/method/<name>.yaml` holds.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from lowres_ssl.build import build
from lowres_ssl.randomness import seeded


class Method(nn.Module, ABC):
    """Heads on an encoder, and the loss of two views.

    `trains` is false for a method that leaves the encoder as it starts.
    """

    trains: ClassVar[bool] = True

    @abstractmethod
    def embed(self, features: Tensor) -> tuple[Tensor, ...]:
        """One view's features [B, D] through the heads. The first of the outputs is the embedding that is monitored."""

    @abstractmethod
    def loss(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Of what `embed` made of the two views: "loss", the scalar to minimise, and its terms, to be shown."""


def build_method(arguments: Mapping[str, Any], *, features: int, seed: int) -> Method:
    """The method in `methods/<name>.py`, its heads initialised from `seed` without touching the global generators.

    Raises `ConfigError` if there is none or `arguments` do not fit it.
    """
    arguments = dict(arguments)
    name = str(arguments.pop("name"))
    with seeded(seed, "heads"):
        # mypy wants a concrete class, but the base is only what the built one must be.
        return build(__name__, name, Method, arguments, "method", "method", features=features)  # type: ignore[type-abstract]


def mlp(
    inputs: int, hidden: int, outputs: int, *, output_batch_norm: bool = False, output_bias: bool = True
) -> nn.Sequential:
    """Linear, BatchNorm, ReLU, Linear: the 2-layer head of all methods here. No bias before a BatchNorm."""
    layers: list[nn.Module] = [nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
    layers.append(nn.Linear(hidden, outputs, bias=output_bias and not output_batch_norm))
    if output_batch_norm:
        layers.append(nn.BatchNorm1d(outputs, affine=False))
    return nn.Sequential(*layers)
