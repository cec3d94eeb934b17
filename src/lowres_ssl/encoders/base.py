"""Define an encoder that nothing is trained for, a baseline, and find it by the name of its file.

Users choose one as they choose a method: `method=random`, with what `conf/method/<name>.yaml` holds.
"""

from abc import ABC
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from lowres_ssl.registry import build, find_class, list_available

PACKAGE = "lowres_ssl.encoders"

Encoder = tuple[nn.Module, int]  # float32 [B, 3, S, S] -> [B, D], and D


class FixedEncoder(ABC):  # noqa: B024 - each method has a default
    """A baseline: an encoder used as it is. It may bring its own architecture, weights and normalisation.

    `depends_on_seed` is false where the encoder is the same for every seed: one result of it is then enough.
    `adds_size`: whether the sizes of the original images belong to its features. `brings_architecture`: whether it is
    the same whatever backbone the config names. `file`: the file of its weights, if the user named one.
    """

    depends_on_seed: ClassVar[bool] = True
    adds_size: ClassVar[bool] = False
    brings_architecture: ClassVar[bool] = False
    file: Path | None = None

    def architecture(self, backbone: Callable[[], Encoder]) -> Encoder:
        """Build the encoder without its weights; `backbone` builds the one that the config names."""
        return backbone()

    def weights(self, backbone: str, cache: Path) -> Mapping[str, Tensor] | None:
        """Read its weights, fetched into `cache` if need be; None: as they were initialised.

        Raises `ConfigError`, `DataError` or `CheckpointError`.
        """
        return None

    def adapt(self, encoder: nn.Module, images: Iterable[Tensor]) -> None:  # noqa: B027 - most change nothing
        """Change the encoder's weights in place by the training images, unlabelled batches float32 [B, 3, S, S]."""

    def normalisation(self) -> tuple[list[float], list[float]] | None:
        """Return mean and standard deviation of the channels in its own training; None: those of the images."""
        return None

    def image_size(self) -> int | None:
        """Return the side in pixels of the images that its weights were trained with; None where it is unknown."""
        return None

    def row_name(self, name: str) -> str:
        """Return its name in tables; `name` is the choice's."""
        return name


def list_fixed_encoders() -> list[str]:
    """List the names that `method=` takes for an encoder that is not trained."""
    return list_available(PACKAGE, FixedEncoder)


def find_fixed_encoder(name: str) -> type[FixedEncoder] | None:
    """Find the class in `encoders/<name>.py`; None where there is none, as for a method that trains."""
    return find_class(PACKAGE, name, FixedEncoder, "method") if name in list_fixed_encoders() else None


def build_fixed_encoder(arguments: Mapping[str, Any]) -> FixedEncoder | None:
    """Build the fixed encoder that `arguments` name; None where they name a method that trains. Raises `ConfigError`
    for arguments that do not fit it."""
    others = {key: value for key, value in arguments.items() if key != "name"}
    name = str(arguments["name"])
    if find_fixed_encoder(name) is None:
        return None
    return build(PACKAGE, name, FixedEncoder, others, "method", "method")
