"""Self-supervised methods: an encoder's features in, a loss out. One file a method, found by its name.

A method wires heads and says which loss is taken of what; the losses themselves are in `lowres_ssl.losses`. It sees no
label, unless it is the supervised baseline. Its constructor takes `features` (the encoder's output, D) where it has
heads, and what `conf/method/<name>.yaml` holds.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from lowres_ssl.registry import build, find_class
from lowres_ssl.seeding import seed_torch


class Method(nn.Module, ABC):
    """Heads on an encoder, and the loss of two views.

    `trains` is false for a method that leaves the encoder as it starts, see `Untrained`. `depends_on_seed` is false
    where the encoder is the same for every seed: one result of it is then enough. `sees_labels` is true for a
    supervised one alone: `loss` then finds the labels (int64 [B]) as the last output of either view.
    """

    trains: ClassVar[bool] = True
    depends_on_seed: ClassVar[bool] = True
    sees_labels: ClassVar[bool] = False

    @abstractmethod
    def embed(self, features: Tensor) -> tuple[Tensor, ...]:
        """One view's features [B, D] through the heads. The first of the outputs is the embedding that is monitored."""

    @abstractmethod
    def loss(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Of what `embed` made of the two views: "loss", the scalar to minimise, and its terms, to be shown."""

    def chance_loss(self, batch_size: int) -> float | None:
        """The loss of a batch of which all embeddings are equally alike; None where nothing is contrasted.

        A contrastive method whose loss stays there tells no two images apart: it has learnt nothing.
        """
        return None


Encoder = tuple[nn.Module, int]  # float32 [B, 3, S, S] -> [B, D], and D


class Untrained(Method):
    """A baseline: an encoder used as it is. It may bring its own architecture, weights and normalisation.

    `file`: the file that its weights are read from, if a user named one. `adds_size`: whether the sizes of the original
    images belong to its features. `brings_architecture`: whether it is the same whatever backbone the config names.
    """

    trains = False
    adds_size: ClassVar[bool] = False
    brings_architecture: ClassVar[bool] = False
    file: Path | None = None

    def __init__(self) -> None:  # nn.Module's own takes anything
        super().__init__()

    def architecture(self, backbone: Callable[[], Encoder]) -> Encoder:
        """The encoder without its weights; `backbone` builds the one that the config names."""
        return backbone()

    def weights(self, backbone: str, cache: Path) -> Mapping[str, Tensor] | None:
        """Its weights, fetched into `cache` if need be; None: as they were initialised.

        Raises `ConfigError`, `DataError` or `CheckpointError`.
        """
        return None

    def adapt(self, encoder: nn.Module, images: Iterable[Tensor]) -> None:
        """Change the encoder, its weights in place, by the training images, unlabelled batches float32 [B, 3, S, S].

        By default nothing is changed, and no image is read.
        """
        return

    def normalisation(self) -> tuple[list[float], list[float]] | None:
        """Mean and standard deviation of the three channels that its weights were trained with; None: the images'."""
        return None

    def image_size(self) -> int | None:
        """The side in pixels of the images that its weights were trained with; None where that is not known."""
        return None

    def entry(self, name: str) -> str:
        """What tables call it; `name` is the method's."""
        return name

    # The loop refuses a method that does not train before it asks for these.
    def embed(self, features: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError(f"{type(self).__name__} trains nothing")

    def loss(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> dict[str, Tensor]:
        raise NotImplementedError(f"{type(self).__name__} trains nothing")


def find_method(name: str) -> type[Method]:
    """The class in `methods/<name>.py`. Raises `ConfigError` if there is none."""
    return find_class(__name__, name, Method, "method")


def build_method(arguments: Mapping[str, Any], *, features: int = 1, classes: int = 1, seed: int) -> Method:
    """The method in `methods/<name>.py`, its heads initialised from `seed` without touching the global generators.

    `features` and `classes` (of the images) are given to a constructor that takes them. Raises `ConfigError` if there
    is no such method or `arguments` do not fit it.
    """
    arguments = dict(arguments)
    name = str(arguments.pop("name"))
    takes = inspect.signature(find_method(name)).parameters
    given = {key: value for key, value in (("features", features), ("classes", classes)) if key in takes}
    with seed_torch(seed, "heads"):
        return build(__name__, name, Method, arguments, "method", "method", **given)


def mlp(
    inputs: int, hidden: int, outputs: int, *, output_batch_norm: bool = False, output_bias: bool = True
) -> nn.Sequential:
    """Linear, BatchNorm, ReLU, Linear: the 2-layer head of all methods here. No bias before a BatchNorm."""
    layers: list[nn.Module] = [nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
    layers.append(nn.Linear(hidden, outputs, bias=output_bias and not output_batch_norm))
    if output_batch_norm:
        layers.append(nn.BatchNorm1d(outputs, affine=False))
    return nn.Sequential(*layers)
