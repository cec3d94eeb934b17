"""Find configs: the user's own folder, which Hydra searches after ours, and the data sets that have a config.

It is searched last: it adds choices, and a choice of ours is never replaced by one of the same name.
"""

import os
from pathlib import Path
from typing import cast

from hydra import compose
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from lowres_ssl.config.experiment_schema import DatasetConfig
from lowres_ssl.config.overrides import quote_value

CONF_FOLDER = "lowres_ssl_conf"


def get_user_conf() -> Path:
    """Return `lowres_ssl_conf` in the working folder, or the folder of LOWRES_SSL_CONF; it may not exist."""
    return Path(os.environ.get("LOWRES_SSL_CONF") or CONF_FOLDER)


class UserConfPlugin(SearchPathPlugin):
    """Add the user's folder to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        folder = get_user_conf().absolute()
        if folder.is_dir():
            search_path.append(provider="own", path=f"file://{folder}")


def register_user_conf() -> None:
    """Register the plugin before Hydra begins; registering it again changes nothing."""
    Plugins.instance().register(UserConfPlugin)


def list_datasets(data_dir: str) -> tuple[list[tuple[str, DatasetConfig]], list[str]]:
    """List each choice of the group `dataset` with its config, and a line for each that cannot be composed.

    Only within a command, since Hydra has to have been started.
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
