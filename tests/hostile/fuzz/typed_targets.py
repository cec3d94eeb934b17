"""Fuzzed: what people type, and what files are called."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

from damage import ODD_TEXT
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import strategies as st
from omegaconf import OmegaConf
from watching import Target, watched

import lowres_ssl.data.datasets.folder
from lowres_ssl.config.check import SCHEMAS, PretrainConfig, read_config, register_schemas, to_plain
from lowres_ssl.config.error_messages import describe_error
from lowres_ssl.config.keys import list_schema_keys
from lowres_ssl.config.overrides import PATH_KEYS, TEXT_KEYS, add_section_prefixes, check_overrides, quote_texts
from lowres_ssl.data.datasets import build_source
from lowres_ssl.errors import UserError
from lowres_ssl.runs.run import get_run_by_identity

SOURCES = ("breast", "colorectal", "folder", "phantom", "pneumonia")
PIECES = [
    *("SOB_B_A-14-22549AB-400-001.png", "SOB_", "B", "M", "_A-", "14-", "22549", "AB", "-400", "-001"),
    *("1057F_CRC-Prim-HE-03_009.tif_Row_301_Col_151", "01_TUMOR", "08_EMPTY", "CRC-Prim-HE-"),
    *("person1_bacteria_2", "IM-0115-0001", "NORMAL2-IM-", "BACTERIA-30629-0001", "NORMAL", "PNEUMONIA"),
    *("patient-01_3.png", "train", "val", "test", "chest_xray", "/", "/", "/", "-", "_", ".", "..", "0" * 30, "٣", "é"),
    *(".png", ".jpeg", ".tif", "\x1b[2J", "=1+1", "<script>", "\ud800", "\n", " ", "'", '"', "${x}"),
]
NAME = st.one_of(st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join), ODD_TEXT)
KEYS = sorted(
    {*list_schema_keys(PretrainConfig), *PATH_KEYS, *TEXT_KEYS, "method.temperature", "probe.knn.k", "probe.typo.k"}
)
GROUPS = ("method", "dataset", "backbone", "images", "recipe", "probe", "hydra.run.dir", "hydra.sweep.dir", "hydra")
VALUES = [
    *("1", "-1", "0", "1e999", "nan", "null", "", "true", "[]", "[1]", "{}", "{a:1}", "simclr", "phantom", "[phantom]"),
    *("../../x", "/", "~", "a b", "a,b", "${data_dir}", "${method}", "${x", "${oc.env:NO_SUCH}", "${now:%Y}", "???"),
    *("it's", '"', "'", "\\", "é", "\x1b", "\ud800", "a" * 300, "choice(1,2)", "range(1,3)", "1" * 400, "=", "@", "#"),
]
VALUE = st.one_of(
    st.sampled_from(VALUES), st.lists(st.sampled_from(VALUES), max_size=3).map("".join), st.text(max_size=12)
)
OVERRIDE = st.one_of(
    st.builds(
        lambda prefix, key, value: f"{prefix}{key}={value}",
        st.sampled_from(["", "", "", "+", "++", "~"]),
        st.sampled_from([*KEYS, *GROUPS]),
        VALUE,
    ),
    VALUE,
)


def list_names(example: tuple[str, list[str], str], folder: Path) -> None:
    """Names as any folder could hold them, without writing so many files."""
    source, names, pattern = example
    root = folder / "set"
    named = sorted(((root / name, name) for name in names if "\0" not in name), key=lambda pair: pair[1])
    module = f"lowres_ssl.data.datasets.{source}"
    with (
        watched(folder),
        patch(f"{module}.images_below", lambda root: iter(named)),
        patch(f"{module}.resolve_root", lambda root: root),
        patch.object(lowres_ssl.data.datasets.folder, "comes_divided", lambda root: len(names) % 2 == 0),
    ):
        listings = build_source(source, {"group_pattern": pattern} if source == "folder" else {}).listings(root)
        for listing in listings:
            assert listing.path in dict(named)
            assert listing.group is None or isinstance(listing.group, str)
            assert listing.side in ("train", "val", "test", None)


def type_overrides(example: tuple[str, list[str]], folder: Path) -> None:
    """What is typed is refused, or reaches Hydra's parser as it was typed."""
    command, typed = example
    with watched(folder):
        placed = add_section_prefixes(command, typed)
        check_overrides(placed)
        for override, quoted in zip(placed, quote_texts(placed), strict=True):
            try:
                parsed = OverridesParser.create().parse_override(quoted)
            except Exception as error:
                said_in_one_line(error, command)
                continue
            key, _, value = override.partition("=")
            # "???" is OmegaConf's word for a missing value, quoted or not: whoever types it is told so in one line.
            if key in TEXT_KEYS and value[:1] not in ("'", '"') and value not in ("null", "None", "", "???"):
                config = OmegaConf.create({key.replace(".", "/"): parsed.value()})
                assert config[key.replace(".", "/")] == value


def said_in_one_line(error: Exception, command: str) -> None:
    message, code = describe_error(error, command)
    assert message is not None, f"{error!r} would show a traceback"
    assert "\n" not in message
    assert code in (2, 3, 4)


def compose_config(overrides: list[str], folder: Path) -> None:
    """A whole command line becomes a config, or a line that says why not; a run of it lies where it should."""
    register_schemas()
    GlobalHydra.instance().clear()
    with watched(folder), initialize_config_module("lowres_ssl.conf", version_base="1.3"):
        check_overrides(overrides)
        try:
            config = read_config(compose("pretrain", overrides=quote_texts(overrides)), PretrainConfig)
        except UserError:
            raise
        except Exception as error:
            said_in_one_line(error, "pretrain")
            return
        values: dict[str, Any] = to_plain(config)
        run = get_run_by_identity(folder, "pretrain", [config.dataset.name, str(values["method"].get("name"))], {})
        assert run.folder.parent == folder / "pretrain"
        run.folder.mkdir(parents=True)


TARGETS = {
    "names": Target(
        list_names,
        st.tuples(
            st.sampled_from(SOURCES),
            st.lists(NAME, max_size=6),
            st.sampled_from(["([^/_]+)_", "(?P<group>p)", "(a)|b", "(", "()", "(?P<group>", "x"]),
        ),
        enough=150,
    ),
    "overrides": Target(
        type_overrides, st.tuples(st.sampled_from(sorted(SCHEMAS)), st.lists(OVERRIDE, max_size=3)), enough=60
    ),
    "composition": Target(compose_config, st.lists(OVERRIDE, max_size=3), enough=4),
}
