"""Define what a method may do between an encoder and its loss, and find a method by the name of its file.

A method wires heads and names its loss; the losses themselves are in `methods/losses.py`. It sees no label, unless
it is the supervised baseline. Its constructor takes `features` (the encoder's output, D) where it has heads, `classes`
where it classifies, and what `conf/method/<name>.yaml` holds.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lowres_ssl.augment.sampling import FULL_VIEW, ViewKind
from lowres_ssl.encoders.base import list_fixed_encoders
from lowres_ssl.errors import ConfigError, did_you_mean
from lowres_ssl.registry import build, find_class, list_available
from lowres_ssl.seeding import seed_torch

PACKAGE = "lowres_ssl.methods"

Outputs = tuple[Tensor, ...]  # of one view, each [B, ...]


class Method(nn.Module, ABC):
    """Heads on an encoder, and the loss of a batch's views. `embed` and `loss` are all that most methods write.

    The others are for methods with a teacher, a queue or more views. Whatever a method carries from step to step is a
    parameter, a buffer or a module of it, so that checkpoints hold it: a teacher does not require gradients.
    """

    sees_labels: ClassVar[bool] = False  # of a supervised one alone
    separates_images: ClassVar[bool] = False  # its labels are the images' own numbers, from 0 to N - 1

    @property
    def takes_labels(self) -> bool:
        """Whether `loss` gets labels: classes, or the images' own numbers."""
        return self.sees_labels or self.separates_images

    def view_kinds(self) -> Sequence[ViewKind]:
        """List the views that a step wants of each image, in the order in which `encode` gets them."""
        return (FULL_VIEW, FULL_VIEW)

    def prepare(self, encoder: nn.Module) -> None:
        """Build what starts as the encoder does, such as a teacher. Called once, before the optimiser is made."""

    def predictor_parameters(self) -> Sequence[nn.Parameter]:
        """List the parameters of the predictor, whose learning rate may be kept constant; none without one."""
        return ()

    @abstractmethod
    def embed(self, features: Tensor) -> Outputs:
        """Pass one view's features [B, D] through the heads. The first of the outputs is the monitored embedding."""

    def encode(self, encoder: nn.Module, views: Sequence[Tensor], *, joint: bool) -> list[Outputs]:
        """Pass the views, [B, 3, S, S] each, through encoder and heads: outputs for each view, [B, ...] each.

        `joint`: in one pass for all views of a size, where BatchNorm sees them together, else in one for each view.
        With several processes B is a process's share of the batch, and `loss` gets the outputs of the whole batch.
        """
        return encode_views(lambda images: self.embed(encoder(images)), views, joint=joint)

    @abstractmethod
    def loss(self, outputs: Sequence[Outputs], labels: Tensor | None) -> dict[str, Tensor]:
        """Compute "loss", the scalar to minimise, and its terms, to be shown, from the outputs of `encode`.

        "loss" is the first key; all values are float32, also under autocast. Where all views are of one kind, their
        order does not matter.
        `labels`: int64 [B] for a method that sees them, or that separates images, else None.
        """

    def after_step(self, encoder: nn.Module, progress: float) -> None:
        """Follow a step of the optimiser, as an EMA teacher does. `progress`: of the training, above 0, at most 1."""

    def encoder_to_keep(self, encoder: nn.Module) -> nn.Module:
        """Return the encoder that is scored and saved: the trained one, or a teacher's."""
        return encoder

    def chance_loss(self, batch_size: int) -> float | None:
        """Return the loss of a batch of which all embeddings are equally alike; None where nothing is contrasted.

        A contrastive method whose loss stays there separates no two images: it has learnt nothing.
        """
        return None


def encode_views(network: Callable[[Tensor], Outputs], views: Sequence[Tensor], *, joint: bool) -> list[Outputs]:
    """Pass views through `network`, neighbours of one size together if `joint`; outputs for each view, in order."""
    if not joint:
        return [network(view) for view in views]
    outputs: list[Outputs] = []
    for _, group in groupby(views, key=lambda view: view.shape):
        alike = tuple(group)
        parts = [output.chunk(len(alike)) for output in network(torch.cat(alike))]
        outputs += zip(*parts, strict=True)
    return outputs


def list_methods() -> list[str]:
    """List the names that `method=` takes, those of encoders that are not trained among them."""
    return sorted([*list_available(PACKAGE, Method), *list_fixed_encoders()])


def find_method(name: str) -> type[Method]:
    """Find the class in `methods/<name>.py`. Raises `ConfigError` if there is none."""
    if name not in list_available(PACKAGE, Method):
        choices = list_methods()
        hint = did_you_mean(name, choices, "method={}")
        raise ConfigError(f"method={name}: wanted one of {', '.join(choices)}{hint}")
    return find_class(PACKAGE, name, Method, "method")


def build_method(
    arguments: Mapping[str, Any], *, features: int = 1, classes: int = 1, images: int = 2, seed: int
) -> Method:
    """Build the method in `methods/<name>.py`, its heads initialised from `seed` without a global generator.

    `features`, `classes` and `images` (to train on) are given to a constructor that takes them. Raises `ConfigError` if
    there is no such method or `arguments` do not fit it, such as a width of a head (`hidden`, `*_hidden`, `*_output`)
    below 1.
    """
    arguments = dict(arguments)
    name = str(arguments.pop("name"))
    for key, value in arguments.items():
        if key.endswith(("hidden", "_output")) and isinstance(value, int) and value < 1:
            raise ConfigError(f"method.{key}={value}: wanted a width of at least 1; try method.{key}=128")
    takes = inspect.signature(find_method(name)).parameters
    known = {"features": features, "classes": classes, "images": images}
    given = {key: value for key, value in known.items() if key in takes}
    with seed_torch(seed, "heads"):
        return build(PACKAGE, name, Method, arguments, "method", "method", **given)


def mlp(
    inputs: int, hidden: int, outputs: int, *, output_batch_norm: bool = False, output_bias: bool = True
) -> nn.Sequential:
    """Stack Linear, BatchNorm, ReLU, Linear: the 2-layer head of all methods here. No bias before a BatchNorm."""
    layers: list[nn.Module] = [nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
    layers.append(nn.Linear(hidden, outputs, bias=output_bias and not output_batch_norm))
    if output_batch_norm:
        layers.append(nn.BatchNorm1d(outputs, affine=False))
    return nn.Sequential(*layers)
