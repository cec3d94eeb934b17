"""Places look up the environment, nothing else does; and OmegaConf is afterwards as it was."""

import pytest
from omegaconf import OmegaConf

from lowres_ssl.config.keys import restrict_env_lookups
from lowres_ssl.errors import ConfigError


def test_places_and_what_is_below_them_look_up_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEWHERE", "/disk")
    config = OmegaConf.create(
        {
            "data_dir": "${oc.env:SOMEWHERE}/data",
            "output_dir": "${oc.env:NOWHERE,outputs}",
            "dataset": {"root": "${data_dir}/cells", "title": r"\${oc.env:SOMEWHERE}"},
        }
    )
    with restrict_env_lookups():
        values = OmegaConf.to_object(config)
    assert values == {
        "data_dir": "/disk/data",
        "output_dir": "outputs",
        "dataset": {"root": "/disk/data/cells", "title": "${oc.env:SOMEWHERE}"},
    }


@pytest.mark.parametrize("key", ["title", "data_dirs", "root"])
def test_another_key_is_refused_and_the_resolver_is_put_back(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("SECRET", "x")
    config = OmegaConf.create({"dataset": {key: ["${oc.env:SECRET}"]}})
    with pytest.raises(ConfigError, match=rf"dataset\.{key}\[0\]: got \$\{{oc\.env:SECRET\}}"), restrict_env_lookups():
        OmegaConf.to_object(config)
    assert OmegaConf.to_object(config) == {"dataset": {key: ["x"]}}
