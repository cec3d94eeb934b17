"""Paths as they are typed reach the config as they are typed: through Hydra's own parser and OmegaConf."""

import random
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from lowres_ssl.config.overrides import PATH_KEYS, check_overrides, escape_interpolations, format_command, quote_texts
from lowres_ssl.errors import ConfigError

AWKWARD = [
    "plain",
    "/data/sets/breast",
    "with space",
    " leading and trailing ",
    "a,b",
    "a[0](b){c}",
    "key=value",
    "it's",
    'a "quoted" word',
    'it\'s a "mixed" one',
    "'unclosed",
    "unclosed'",
    "ends in a backslash\\",
    "two at the end\\\\",
    r"a\'b",
    r"a\\'b",
    "'",
    '"',
    "${",
    r"\${x}",
    r"a\\${x}\\",
    r"a\b${x}",
    "${oc.env:HOME}",
    "Größe/日本/ñ",
    "x~y",
    "123",
    "true",
    "NULL",
    "choice(a,b)",
    "tab\there",
    "line\nbreak",
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


def read_back_in_a_sweep(override: str) -> object:
    """The value as it reaches a job of a multirun: Hydra's sweeper writes each override down again."""
    parsed = OverridesParser.create().parse_override(override)
    return read_back(f"{parsed.get_key_element()}={parsed.get_value_element_as_str()}")[1]


@pytest.mark.parametrize("typed", AWKWARD)
def test_path_comes_back_as_typed(typed: str) -> None:
    (quoted,) = quote_texts([f"output_dir={typed}"])
    assert read_back(quoted) == ("output_dir", typed)
    assert read_back_in_a_sweep(quoted) == typed


@pytest.mark.parametrize("typed", AWKWARD)
def test_path_of_a_command_that_is_shown_comes_back_when_it_is_typed(typed: str) -> None:
    (quoted,) = quote_texts([f"output_dir={typed}"])
    assert quote_texts(shlex.split(format_command("pretrain", quoted))[2:]) == [quoted]


def test_any_mixture_of_awkward_characters_comes_back_as_typed() -> None:
    rng = random.Random(0)
    pieces = ["\\", "\\\\", "'", '"', "${", "}", "$", "{", " ", ",", "[", "]", "~", "=", "é", "a", ":", "\n"]
    for _ in range(400):
        typed = "a" + "".join(rng.choices(pieces, k=rng.randint(1, 9)))
        (quoted,) = quote_texts([f"output_dir={typed}"])
        assert read_back(quoted)[1] == typed, f"{typed!r} became {quoted!r}"


@pytest.mark.parametrize("key", sorted(PATH_KEYS))
@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_every_path_key_is_quoted(key: str, prefix: str) -> None:
    (quoted,) = quote_texts([f"{prefix}{key}=my images, new"])
    assert read_back(quoted) == (key, "my images, new")


@pytest.mark.parametrize("typed", ["~", "~/", "~/my images", "~/a~b"])
def test_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setenv("HOME", "/home/some one")
    (quoted,) = quote_texts([f"data_dir={typed}"])
    assert read_back(quoted)[1] == "/home/some one" + typed[1:].rstrip("/")


@pytest.mark.parametrize(
    "override",
    [
        "method=vicreg",
        "batch_size=16,32",
        "dataset.source=my set",
        "my_data_dir=a b",
        "data_dir.inner=a b",
        "dataset=~/x",
        "~probe.knn",
        "~data_dir",
        "-m",
        "--cfg",
        "",
        "views.crop_scale=[0.2,1.0]",
        "method.title='it''s'",
    ],
)
def test_what_is_no_path_is_left_alone(override: str) -> None:
    assert quote_texts([override]) == [override]


@pytest.mark.parametrize("value", ["'a b'", '"a b"', "'a','b'", '"a","b c"', r"'it\'s'", "''"])
def test_what_is_quoted_already_is_left_alone(value: str) -> None:
    assert quote_texts([f"data_dir={value}"]) == [f"data_dir={value}"]


def test_sweep_over_quoted_paths_stays_a_sweep() -> None:
    (override,) = quote_texts(["data_dir='my a','my b'"])
    parsed = OverridesParser.create().parse_override(override)
    assert parsed.is_sweep_override()
    assert list(parsed.sweep_string_iterator()) == ["'my a'", "'my b'"]


@pytest.mark.parametrize("value", ["null", "None", ""])
def test_nothing_stays_nothing(value: str) -> None:
    assert quote_texts([f"weights={value}"]) == [f"weights={value}"]


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("dataset=[phantom]", "a list of one"),
        ("+method=[simclr]", "a list of one"),
        ("hydra.mode=MULTIRUN", "-m before the keys"),
        ("hydra.run.dir=/tmp/x", "where things are written"),
        ("hydra.sweep.dir=/tmp/x", "where things are written"),
        ("+hydra.callbacks.x._target_=os.system", "which code Hydra runs"),
        ("hydra.callbacks={}", "which code Hydra runs"),
        ("~hydra.callbacks.failures=1", "which code Hydra runs"),
        ("hydra/callbacks=mine", "which code Hydra runs"),
        ("dataset@hydra.callbacks.x=mine", "which code Hydra runs"),
        ("+dataset@hydra=mine", "which code Hydra runs"),
        ("hydra={callbacks:{x:{_target_:os.system}}}", "which code Hydra runs"),
        ("hydra.launcher={_target_:os.system}", "which code Hydra runs"),
        ("hydra.launcher._target_=os.system", "which code Hydra runs"),
        ("hydra.searchpath=[file:///tmp]", "which code Hydra runs"),
        ("+method._target_=os.system", "which code Hydra runs"),
        ("+_target_=os.system", "which code Hydra runs"),
        ("dataset.name=a\x1b[2Jb", "control character"),
        ("dataset.name=a\udcffb", "no text"),
        ("dataset.url=https://me:secret@host/x.zip", "a password or a token"),
        ("++dataset.url='https://host/x.zip?sig=0123456789abcdef'", "a password or a token"),
    ],
)
def test_what_hydra_would_take_otherwise_is_refused(override: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        check_overrides(["epochs=1", override])
    assert "secret" not in str(caught.value)
    assert "0123456789" not in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "-m",
        "--cfg",
        "probe=[knn,linear]",
        "dataset.root=a b [1]",
        "dataset.url=https://zenodo.org/records/53169/files/x.zip?download=1",
        "hydra/launcher=joblib",
        "+hydra.launcher.ray.init.num_cpus=2",
        "hydra/sweeper=search",
        "hydra.sweeper.n_trials=3",
        "hydra.job_logging.root.level=INFO",
        "dataset.title=_target_",
        "epochs=1,2",
        "~probe",
    ],
)
def test_what_is_meant_as_typed_is_let_through(override: str) -> None:
    check_overrides([override])


@pytest.mark.parametrize(
    "text", ["${oc.env:HOME}", r"\${x}", r"a\\${oc.env:HOME}", "${a}${b}", "plain", "${oc.select:a,1}"]
)
def test_stored_text_looks_nothing_up(text: str) -> None:
    stored = {"a": [text], "b": {"c": text}}
    config = OmegaConf.create({"a": 1, "b": 2, "stored": escape_interpolations(stored)})
    assert OmegaConf.to_container(config, resolve=True)["stored"] == stored
