"""No training on your images: any encoder that timm knows (DINO, pathology models, ...), frozen."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import ClassVar

from torch import Tensor, nn

from lowres_ssl.checkpoint import load_weights
from lowres_ssl.errors import ConfigError, DataError, did_you_mean
from lowres_ssl.methods import Encoder, Untrained


class Pretrained(Untrained):
    """timm's `model`, without its classifier, with timm's own weights, fetched once, or with those in the file
    `weights`.

    The images are normalised with `mean` and `std`, null for the model's own. Needs the extra `[timm]`.
    """

    brings_architecture: ClassVar[bool] = True

    def __init__(self, model: str, weights: str | None, mean: list[float] | None, std: list[float] | None) -> None:
        super().__init__()
        self.model = model
        self.mean, self.std = mean, std
        if weights is not None:
            self.file = Path(weights)
        library = timm()
        bare = model.split(".")[0].removeprefix("hf-hub:")
        if not model.startswith("hf-hub:") and not library.is_model(bare):
            hint = did_you_mean(bare, library.list_models(), "method.model={}")
            raise ConfigError(f"method.model={model}: timm {library.__version__} has no such model{hint}")

    def architecture(self, backbone: Callable[[], Encoder]) -> Encoder:
        encoder = timm().create_model(self.model, pretrained=False, num_classes=0)
        return encoder, int(encoder.num_features)

    def weights(self, backbone: str, cache: Path) -> Mapping[str, Tensor]:
        if self.file is not None:
            return load_weights(self.file)
        try:
            encoder: nn.Module = timm().create_model(self.model, pretrained=True, num_classes=0, cache_dir=str(cache))
        except Exception as error:  # timm asks a hub, which fails in many ways
            raise DataError(
                f"method.model={self.model}: its weights cannot be fetched ({str(error).splitlines()[0]}); "
                "fetch them by other means and type method.weights=FILE"
            ) from error
        return encoder.state_dict()

    def normalisation(self) -> tuple[list[float], list[float]] | None:
        own = timm().get_pretrained_cfg(self.model)
        mean = self.mean or (own and list(own.mean))
        std = self.std or (own and list(own.std))
        return (mean, std) if mean and std else None

    def entry(self, name: str) -> str:
        return f"{name} {self.model}"


def timm(wanted: str = "method=pretrained") -> ModuleType:
    """The library. Raises `ConfigError` if it is not installed; `wanted` needs it."""
    try:
        import timm
    except ImportError as error:
        raise ConfigError(f"{wanted} needs timm; type pip install 'lowres-ssl[timm]'") from error
    return timm
