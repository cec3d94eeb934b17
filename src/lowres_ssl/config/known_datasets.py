"""The data sets that have a config, as Hydra composes them: those that come with the package and the user's own."""

from typing import cast

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from lowres_ssl.config.check import DatasetConfig
from lowres_ssl.config.overrides import quote_value


def list_datasets(data_dir: str) -> tuple[list[tuple[str, DatasetConfig]], list[str]]:
    """Each choice of the group `dataset` with its config below `data_dir`; and a line for each that does not compose.

    Only within a command, since it asks Hydra for what that was started with.
    """
    sets, problems = [], []
    for choice in GlobalHydra.instance().config_loader().get_group_options("dataset"):
        try:
            cfg = compose("data", overrides=[f"dataset={choice}", f"data_dir={quote_value(data_dir)}"])
            sets.append((choice, cast(DatasetConfig, OmegaConf.to_object(cfg.dataset))))
        except Exception as error:  # whatever is wrong with one file, the other sets are there
            reason = str(error.__cause__ or error).strip().splitlines()
            problems.append(f"conf/dataset/{choice}.yaml: cannot be composed ({reason[0] if reason else error!r})")
    return sets, problems
