"""No training on your images: any encoder that timm knows (DINO, pathology models, ...), frozen."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from torch import Tensor, nn

from lowres_ssl.encoders.base import Encoder, FixedEncoder
from lowres_ssl.encoders.weights_file import load_weights
from lowres_ssl.errors import ConfigError, DataError, did_you_mean

HUB_PREFIX = "hf-hub:"


class TimmEncoder(FixedEncoder):
    """timm's `model`, without its classifier, with timm's own weights, fetched once, or with those in the file
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
        library = import_timm()
        bare = model.split(".")[0].removeprefix(HUB_PREFIX)
        if not model.startswith(HUB_PREFIX) and not library.is_model(bare):
            hint = did_you_mean(bare, library.list_models(), "method.model={}")
            raise ConfigError(f"method.model={model}: timm {library.__version__} has no such model{hint}")

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
        return encoder, int(encoder.num_features)

    def weights(self, backbone: str, cache: Path) -> Mapping[str, Tensor]:
        if self.file is not None:
            return load_weights(self.file)
        try:
            encoder = create_timm_model(self.model, pretrained=True, cache_dir=str(cache))
        except Exception as error:  # timm asks a hub, which fails in many ways
            raise DataError(
                f"method.model={self.model}: its weights cannot be fetched ({get_first_line(error)}); "
                "fetch them by other means and type method.weights=FILE"
            ) from error
        return encoder.state_dict()

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


def create_timm_model(model: str, **asked: Any) -> nn.Module:
    """timm's `model` without its classifier. A transformer whose positions are for images of one size resamples them to
    the images it gets, where timm can do that; its weights are the same."""
    try:
        encoder: nn.Module = import_timm().create_model(model, num_classes=0, dynamic_img_size=True, **asked)
    except TypeError:  # no such argument
        encoder = import_timm().create_model(model, num_classes=0, **asked)
    return encoder


def get_first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def import_timm(wanted: str = "method=pretrained") -> ModuleType:
    """The library. Raises `ConfigError` if it is not installed; `wanted` needs it."""
    try:
        import timm
    except ImportError as error:
        raise ConfigError(f"{wanted} needs timm; type pip install 'lowres-ssl[timm]'") from error
    return timm
