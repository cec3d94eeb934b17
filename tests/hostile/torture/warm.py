"""Loaded once, by the process that commands are forked from: what each would load, and find, before it works."""

import sklearn.manifold  # noqa: F401 - to be loaded
import timm  # noqa: F401 - to be loaded
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra

from lowres_ssl.config.check import register_schemas

register_schemas("pretrain")
with initialize_config_module("lowres_ssl.conf", version_base="1.3"):
    compose("pretrain", ["dataset=folder"])  # the files are read, Hydra's plugins found
GlobalHydra.instance().clear()
