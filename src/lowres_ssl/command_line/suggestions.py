"""What was probably meant by a key that there is not."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib.resources import files
from typing import Any

import yaml

from lowres_ssl.command_line.overrides import FILTERING, TAKING
from lowres_ssl.errors import did_you_mean

NO_KEYS = frozenset(["defaults", "hydra"])


def meant_key(key: str, known: Iterable[str], command: str) -> str:
    """; did you mean ...? - nothing if no key is close. `known`: those of the command's schema. What only a file of a
    group knows is known as well, and what is typed without its section."""
    section, _, last = key.rpartition(".")
    names = {*known, *FILTERING.get(command, ()), *TAKING.get(command, ())}
    if section and section.split(".")[0] in names:
        names |= set(keys_of_group(section.split(".")[0]))
    beside = [name.rpartition(".")[2] for name in names if name.rpartition(".")[0] == section]
    if section and beside:
        return did_you_mean(last, sorted(beside), f"{section}.{{}}")
    close = get_close_matches(key, sorted(names), n=1, cutoff=0.75)
    within = close and (key == close[0] or key.startswith(f"{close[0]}."))
    return f"; did you mean {close[0]}?" if close and not within else ""


def keys_of_group(group: str) -> Iterator[str]:
    """The keys that the files of a group set: "method.temperature", "probe.knn.k"; none if there is no such group."""
    folder = files("lowres_ssl.conf").joinpath(group)
    if not group.isidentifier() or not folder.is_dir():
        return
    for path in folder.iterdir():
        if not path.name.endswith(".yaml"):
            continue
        text = path.read_text(encoding="utf-8")
        package = next((line.split()[2] for line in text.splitlines() if line.startswith("# @package ")), group)
        content = {name: value for name, value in yaml.safe_load(text).items() if name not in NO_KEYS}
        yield from flat(content, "" if package == "_global_" else f"{package}.")


def flat(content: Mapping[str, Any], before: str) -> Iterator[str]:
    for name, value in content.items():
        yield f"{before}{name}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
