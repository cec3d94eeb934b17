"""The score that a search such as Optuna's maximises: the validation accuracy of KNN on the frozen encoder."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from lowres_ssl.config.check import PretrainConfig
from lowres_ssl.config.overrides import format_command
from lowres_ssl.errors import ConfigError
from lowres_ssl.sweeps.jobs import is_in_sweep

OBJECTIVE_NAME = "validation accuracy of KNN"


def check_search_has_score(config: PretrainConfig) -> None:
    """Raises `ConfigError` if a search asks for the score of a run that will have none, or for the worst one."""
    hydra = HydraConfig.get()
    if not is_in_sweep() or hydra.runtime.choices["hydra/sweeper"] in ("grid", "basic"):
        return
    if config.dry_run:
        raise ConfigError("dry_run=true: a search learns from scores, got none; leave hydra/sweeper out")
    if not config.evaluate or "knn" not in config.probe:
        got = "evaluate=false" if not config.evaluate else f"probe={list(config.probe)}"
        raise ConfigError(
            f"{got}: the search is for the {OBJECTIVE_NAME}, wanted evaluate=true and knn among the probes"
        )
    direction = str(getattr(hydra.sweeper.get("direction"), "name", hydra.sweeper.get("direction")))
    if direction not in ("None", "maximize"):
        raise ConfigError(f"hydra.sweeper.direction={direction}: wanted maximize, as hydra/sweeper=search has it")


def compute_objective(results: Sequence[dict[str, Any]]) -> float | None:
    """Of a run's results: KNN's validation accuracy, of several draws of the labels the mean; none without KNN or
    without validation images. Test scores are not looked at."""
    scores = [result["validation"] for result in results if result["probe"] == "knn"]
    return mean(score["accuracy"] for score in scores) if scores and all(scores) else None


class Found(Callback):
    """Hydra calls it: it says what a search has found, and what to type for it."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        path = Path(config.hydra.sweep.dir) / "optimization_results.yaml"
        if not path.exists():
            return
        found = OmegaConf.load(path)
        chosen = {f"{key}": f"{key}={value}" for key, value in found.best_params.items()}
        fixed = [each for each in config.hydra.overrides.task if each.partition("=")[0] not in chosen]
        fraction = max(config.get("label_fraction") or [1.0])  # of several, the score is of the largest
        labels = "" if fraction == 1 else f" with {100 * fraction:g}% of the labels"
        print(f"best {OBJECTIVE_NAME}{labels}: {found.best_value:.4f}, by")
        print(format_command(config.hydra.job.config_name, *fixed, *chosen.values()), flush=True)
