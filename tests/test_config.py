"""The schemas are registered once, and not copied for each config that is composed."""

import copy

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from omegaconf import open_dict

from lowres_ssl.config import register_schemas


def test_schemas_are_not_copied_and_what_is_composed_from_them_is_its_own() -> None:
    register_schemas()
    assert copy.deepcopy(ConfigStore.instance()) is ConfigStore.instance()
    with initialize_config_module("lowres_ssl.conf", version_base="1.3"):
        changed = compose("runs")
        with open_dict(changed):
            changed.output_dir, changed.other = "elsewhere", 1
        assert compose("runs").output_dir != "elsewhere"
        assert "other" not in compose("runs")
