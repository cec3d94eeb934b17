"""Configs of one's own: a folder that Hydra searches after ours, so that `dataset=NAME` needs no `--config-dir`.

It is searched last: it adds choices, and a choice of ours is never replaced by one of the same name.
"""

import os
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

CONF_FOLDER = "lowres_ssl_conf"


def get_user_conf() -> Path:
    """`lowres_ssl_conf` in the folder one stands in, or where LOWRES_SSL_CONF says; it need not be there."""
    return Path(os.environ.get("LOWRES_SSL_CONF") or CONF_FOLDER)


class UserConfPlugin(SearchPathPlugin):
    """Hydra calls it when it begins."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        folder = get_user_conf().absolute()
        if folder.is_dir():
            search_path.append(provider="own", path=f"file://{folder}")


def register_user_conf() -> None:
    """To be called before Hydra begins. It may be called again."""
    Plugins.instance().register(UserConfPlugin)
