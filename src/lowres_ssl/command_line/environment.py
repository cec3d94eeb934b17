"""Which keys of a config may look up the environment: those that say where things are, and no other.

Configs of data sets are handed on, and a run's config is written down with its results: a title that is
`${oc.env:SECRET}` would tell whoever reads those.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from lowres_ssl.errors import ConfigError

PLACES = ("data_dir", "output_dir", "store_dir", "folder")
NAME = "oc.env"


@contextmanager
def only_for_places() -> Iterator[None]:
    """Within the block a config may be resolved. Raises `ConfigError` for one that looks up the environment elsewhere
    than for `PLACES`; what takes its value from those may do so.

    For the block alone: the resolver is OmegaConf's, and of every config of this process.
    """
    refused: list[str] = []

    def for_places(*arguments: Any, _node_: Node) -> str | None:
        key = _node_._get_full_key(None)
        if key in PLACES:
            return oc.env(*arguments)
        refused.append(f"{key}: got ${{{NAME}:{arguments[0]}}}")
        raise ValueError(refused[0])

    OmegaConf.register_new_resolver(NAME, for_places, replace=True)
    try:
        yield
    except OmegaConfBaseException:
        if not refused:
            raise
    finally:
        OmegaConf.register_new_resolver(NAME, oc.env, replace=True)
    if refused:
        raise ConfigError(
            f"{refused[0]}, which would write the environment down with the results; wanted a plain value; only "
            f"{', '.join(PLACES)} may look it up"
        )
