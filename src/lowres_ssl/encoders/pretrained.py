"""Take any encoder that timm knows (DINO, pathology models, ...), frozen: no training on your images."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from lowres_ssl.encoders.base import Encoder, FixedEncoder
from lowres_ssl.encoders.timm_models import (
    HUB_PREFIX,
    check_timm_name,
    create_timm_model,
    get_first_line,
    import_timm,
    read_timm_weights,
)
from lowres_ssl.encoders.weights_file import load_weights
from lowres_ssl.errors import DataError


class TimmEncoder(FixedEncoder):
    """Build timm's `model`, without its classifier, with timm's own weights, fetched once, or with those in the file
    `weights`.

    The images are normalised with `mean` and `std`, null for the model's own. Needs the extra `[timm]`.
    """

    brings_architecture: ClassVar[bool] = True
    depends_on_seed: ClassVar[bool] = False

    def __init__(self, model: str, weights: str | None, mean: list[float] | None, std: list[float] | None) -> None:
        self.model = model
        self.mean, self.std = mean, std
        if weights is not None:
            self.file = Path(weights)
        import_timm()
        check_timm_name(model, "method.model")

    def architecture(self, backbone: Callable[[], Encoder]) -> Encoder:
        """Raises `DataError` if timm or the hub that it asks does not know the model, or cannot be asked."""
        try:
            encoder: Any = create_timm_model(self.model)
        except Exception as error:  # timm, a hub and the network raise whatever they like
            named = self.model.split(".")[0]
            see = (
                "see that the name is right, that its owner lets you read it, and that the hub can be reached"
                if self.model.startswith(HUB_PREFIX)
                else f"see what there is: python -c \"import timm; print(timm.list_pretrained('{named}.*'))\""
            )
            raise DataError(
                f"method.model={self.model}: timm cannot build it ({get_first_line(error)}); {see}"
            ) from error
        return encoder, int(encoder.head_hidden_size)

    def weights(self, backbone: str, cache: Path) -> Mapping[str, Tensor]:
        if self.file is not None:
            return load_weights(self.file)
        return read_timm_weights(self.model, cache, "method.model", "type method.weights=FILE")

    def normalisation(self) -> tuple[list[float], list[float]] | None:
        own = import_timm().get_pretrained_cfg(self.model)
        mean = self.mean or (own and list(own.mean))
        std = self.std or (own and list(own.std))
        return (mean, std) if mean and std else None

    def image_size(self) -> int | None:
        own = import_timm().get_pretrained_cfg(self.model)
        return int(own.input_size[-1]) if own else None

    def row_name(self, name: str) -> str:
        return f"{name} {self.model}"
