"""What is spared when a config is composed changes nothing but the time."""

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from omegaconf import DictConfig, ListConfig

from lowres_ssl.config.check import register_schemas
from lowres_ssl.config.composing import cache_reader


@pytest.fixture(autouse=True)
def conf() -> Iterator[None]:
    register_schemas()
    with initialize_config_module("lowres_ssl.conf", version_base="1.3"):
        yield


def nodes(config: Any) -> Iterator[Any]:
    """All that a config is made of, at any depth."""
    yield config
    if isinstance(config, DictConfig | ListConfig) and not config._is_missing() and not config._is_none():
        keys = config if isinstance(config, DictConfig) else range(len(config))
        for key in keys:
            yield from nodes(config._get_node(key))


@pytest.mark.parametrize("command", ["pretrain", "tables", "report"])
def test_two_configs_share_nothing_that_can_be_changed(command: str) -> None:
    first, second = compose(command), compose(command)
    assert first == second
    count = len(list(nodes(first)))
    assert count > 10
    assert len({id(node) for config in (first, second) for node in nodes(config)}) == 2 * count


def test_files_are_read_once_and_looked_for_once() -> None:
    class Source:
        provider, path = "main", "pkg://somewhere"

        def __init__(self) -> None:
            self.asked: list[str] = []

        def load(self, config_path: str) -> dict[str, list[int]]:
            self.asked.append(config_path)
            return {config_path: [1]}

    source, load = Source(), cache_reader(Source.load)
    load(source, "a")["a"].append(2)
    assert load(source, "a") == {"a": [1]}
    assert load(source, "b") == {"b": [1]}
    assert source.asked == ["a", "b"]


def test_own_files_are_read_as_they_are_each_time(tmp_path: Path) -> None:
    own = tmp_path / "dataset" / "mine.yaml"
    own.parent.mkdir()
    found = []
    for title in ("first", "second"):
        own.write_text(f"defaults: [folder]\nname: mine\ntitle: {title}\n")
        found.append(compose("pretrain", ["dataset=mine", f"hydra.searchpath=[file://{tmp_path}]"]).dataset.title)
    assert found == ["first", "second"]


def test_store_is_not_copied_can_be_sent_and_registered_again_where_it_is_gone() -> None:
    store = ConfigStore.instance()
    assert copy.deepcopy(store) is store
    assert "runs_schema.yaml" in pickle.loads(pickle.dumps(store)).repo
    state = Singleton.get_state()
    try:
        Singleton._instances.pop(ConfigStore)  # as in a process that Hydra's launchers start
        register_schemas()
        assert "runs_schema.yaml" in ConfigStore.instance().repo
    finally:
        Singleton.set_state(state)
