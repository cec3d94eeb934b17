"""What of a config counts in the hash of a run: not a new key at the value at which it changes nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
from in_process import compose_config
from stored_runs import made_up_record, reseal

from lowres_ssl.config.experiment_schema import PretrainConfig
from lowres_ssl.runs.run import Run
from lowres_ssl.runs.run_hash import list_numeric_settings

FIRST_CONFIG = json.loads((Path(__file__).parent / "first_config.json").read_text())  # what a run stored first


def list_settings(*words: str) -> dict[str, Any]:
    return dict(list_numeric_settings(compose_config("dataset=phantom", *words), PretrainConfig))


def list_view_settings(*words: str) -> dict[str, Any]:
    return {key: value for key, value in list_settings(*words).items() if key.startswith("views.")}


@pytest.mark.parametrize("images", ["any", "xray", "histology"])
@pytest.mark.parametrize("recipe", ["paper", "released_code", "tuned"])
def test_steps_that_are_off_are_not_in_the_hash_of_any_recipe(recipe: str, images: str) -> None:
    settings = list_view_settings(f"recipe={recipe}", f"images={images}")
    assert list(settings) == [f"views.{key}" for key in FIRST_CONFIG["views"]]
    typed = ["views.elastic=0", "views.stain=0.0", "views.gamma=0"]
    assert list_view_settings(f"recipe={recipe}", f"images={images}", *typed) == settings


def test_seed_and_settings_are_in_the_hash_and_places_are_not() -> None:
    known = list_settings()
    assert list_settings("data_dir=elsewhere", "device=cpu", "checkpoint_seconds=5") == known
    for word in ("seed=1", "learning_rate=0.02", "views.grey=0.3"):
        assert list_settings(word) != known


@pytest.mark.parametrize("key", ["elastic", "stain", "gamma"])
def test_a_step_that_is_on_is_in_the_hash(key: str) -> None:
    off, on = list_view_settings(), list_view_settings(f"views.{key}=0.5")
    assert on == {**off, f"views.{key}": 0.5}


def test_a_run_of_before_a_key_was_there_has_the_value_that_changes_nothing(tmp_path: Path) -> None:
    """A key that was added since the first config needs a default."""
    run = Run(tmp_path / "run")
    run.start(made_up_record())
    path = run.folder / "run.json"
    reseal(path, json.loads(path.read_text()) | {"config": FIRST_CONFIG})
    config = run.read().config
    assert isinstance(config, PretrainConfig)
    assert (config.optimiser, config.scored_size, config.views.elastic) == ({"name": "sgd"}, None, 0.0)
