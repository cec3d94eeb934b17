"""Paths as they are typed reach the config as they are typed: through Hydra's own parser and OmegaConf."""

import random
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from lowres_ssl.config.command_schemas import PATH_KEYS, TEXT_KEYS
from lowres_ssl.config.overrides import (
    check_overrides,
    escape_interpolations,
    format_budget,
    format_command,
    parse_duration,
    quote_text,
)
from lowres_ssl.errors import ConfigError

AWKWARD = [
    "/data/sets/breast",
    " leading and trailing ",
    "a,b",
    "a[0](b){c}",
    "key=value",
    'it\'s a "mixed" one',
    "'unclosed",
    "unclosed'",
    r"a\\'b",
    "${",
    r"\${x}",
    r"a\\${x}\\",
    "${oc.env:HOME}",
    "Größe/日本/ñ",
    "x~y",
    "123",
    "choice(a,b)",
    "ends in a line break\\\n",
    ":",
]


def read_back(override: str) -> tuple[str, object]:
    """The key and the value that a config holds after this override, interpolations resolved."""
    parsed = OverridesParser.create().parse_override(override)
    assert not parsed.is_sweep_override()
    config = OmegaConf.create({"data_dir": "never seen"})
    assert parsed.key_or_group is not None
    OmegaConf.update(config, parsed.key_or_group, parsed.value(), force_add=True)
    return parsed.key_or_group, OmegaConf.select(config, parsed.key_or_group)


@pytest.mark.parametrize("typed", AWKWARD)
def test_path_comes_back_as_typed_in_a_sweep_too_and_from_a_command_that_is_shown(typed: str) -> None:
    quoted = quote_text(f"output_dir={typed}")
    assert read_back(quoted) == ("output_dir", typed)
    parsed = OverridesParser.create().parse_override(quoted)  # a sweeper writes each override down again
    assert read_back(f"{parsed.get_key_element()}={parsed.get_value_element_as_str()}")[1] == typed
    assert quote_text(shlex.split(format_command("pretrain", quoted))[2]) == quoted


def test_any_mixture_of_awkward_characters_comes_back_as_typed() -> None:
    rng = random.Random(0)
    pieces = ["\\", "\\\\", "'", '"', "${", "}", "$", "{", " ", ",", "[", "]", "~", "=", "é", "a", ":", "\n"]
    for _ in range(400):
        typed = "a" + "".join(rng.choices(pieces, k=rng.randint(1, 9)))
        quoted = quote_text(f"output_dir={typed}")
        assert read_back(quoted)[1] == typed, f"{typed!r} became {quoted!r}"


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_every_path_and_text_is_quoted(prefix: str) -> None:
    for key in (*PATH_KEYS, *TEXT_KEYS, "dataset.options.group_pattern"):
        assert read_back(quote_text(f"{prefix}{key}=my images, new")) == (key, "my images, new")


def test_paths_and_texts_are_those_that_the_schemas_mark() -> None:
    assert {"data_dir", "run", "file", "dataset.root", "input.images", "initial_weights", "weights"} < PATH_KEYS
    assert {"dataset.name", "filters.settings", "imagenet"} < TEXT_KEYS
    assert not {"epochs", "recipe", "dataset.url"} & (PATH_KEYS | TEXT_KEYS)


@pytest.mark.parametrize("typed", ["~", "~/", "~/my images", "~/a~b"])
def test_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setenv("HOME", "/home/some one")
    assert read_back(quote_text(f"data_dir={typed}"))[1] == "/home/some one" + typed[1:].rstrip("/")


@pytest.mark.parametrize(
    "override",
    [
        "method=vicreg",
        "batch_size=16,32",
        "dataset.source=my set",
        "my_data_dir=a b",
        "data_dir.inner=a b",
        "dataset=~/x",
        "~data_dir",
        "--cfg",
        "",
        "views.crop_scale=[0.2,1.0]",
        "method.title='it''s'",
        "dataset.options.magnification=40,100",
        "dataset.options.skip_missing=true",
        "weights=null",
        "weights=",
        "data_dir='a b'",
        "data_dir='a','b'",
        'data_dir="a","b c"',
        r"data_dir='it\'s'",
    ],
)
def test_what_is_no_path_or_quoted_already_is_left_alone(override: str) -> None:
    assert quote_text(override) == override


@pytest.mark.parametrize(
    "override",
    [
        "dataset=[phantom]",
        "+method=[simclr]",
        "hydra.mode=MULTIRUN",
        "hydra.callbacks={}",
        "~hydra.callbacks.sweep_end",
        "hydra/callbacks=mine",
        "dataset@hydra.callbacks.x=mine",
        "+dataset@hydra=mine",
        "hydra/launcher@hydra.callbacks=mine",
        "hydra={callbacks:{x:{_target_:os.system}}}",
        "hydra.launcher={_target_:os.system}",
        "hydra.launcher._target_=os.system",
        "hydra.searchpath=[file:///tmp]",
        "+method._target_=os.system",
        "+_target_=os.system",
        "++dataset.url='https://host/x.zip?sig=0123456789abcdef'",
    ],
)
def test_what_hydra_would_take_otherwise_is_refused(override: str) -> None:
    """As `test_messages.py` does for some others, with their wording."""
    with pytest.raises(ConfigError) as caught:
        check_overrides("pretrain", ["epochs=1", override])
    assert "0123456789" not in str(caught.value)


def test_what_is_meant_as_typed_is_let_through() -> None:
    words = [
        *("-m", "--cfg", "probe=[knn,linear]", "dataset.root=a b [1]", "epochs=1,2", "~probe"),
        "dataset.title=_target_",
        "dataset.url=https://zenodo.org/records/53169/files/x.zip?download=1",
        *("hydra/launcher=joblib", "+hydra.launcher.ray.init.num_cpus=2", "hydra.job_logging.root.level=INFO"),
        *("hydra/sweeper=search", "hydra.sweeper.n_trials=3"),
    ]
    check_overrides("pretrain", words)


@pytest.mark.parametrize(
    "text", ["${oc.env:HOME}", r"\${x}", r"a\\${oc.env:HOME}", "${a}${b}", "plain", "${oc.select:a,1}"]
)
def test_stored_text_looks_nothing_up(text: str) -> None:
    stored = {"a": [text], "b": {"c": text}}
    config = OmegaConf.create({"a": 1, "b": 2, "stored": escape_interpolations(stored)})
    assert OmegaConf.to_container(config, resolve=True)["stored"] == stored


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [("90s", 90), ("30MIN", 1800), ("2h", 7200), ("1h30min", 5400), ("1h 30min", 5400), ("1.5h", 5400), ("1d", 86400)],
)
def test_time_is_read_as_it_is_said(typed: str, seconds: float) -> None:
    assert parse_duration(typed) == seconds


@pytest.mark.parametrize("typed", ["", "soon", "-30min", "30", "1:30", "30min!", "5parsecs", "min", "1e3s", "0h0min"])
def test_what_is_no_time_is_refused(typed: str) -> None:
    with pytest.raises(ConfigError, match="budget="):
        parse_duration(typed)


@pytest.mark.parametrize("seconds", [0.2, 1, 59.5, 119, 120, 121, 1799, 1800, 1801, 3600, 3601, 5400, 100000])
def test_time_that_is_offered_can_be_typed_and_is_never_less(seconds: float) -> None:
    assert seconds <= parse_duration(format_budget(seconds)) < seconds + 60
