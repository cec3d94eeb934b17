"""Quote and expand what is typed on a command line: overrides, paths, filters, durations."""

import math
import re
import shlex
from pathlib import Path
from typing import Any, get_type_hints

from lowres_ssl.errors import ConfigError, did_you_mean

UNIT_SECONDS = {"d": 86400, "h": 3600, "min": 60, "s": 1}
DURATION = re.compile(r"(\d+(\.\d+)?(d|h|min|s)\s*)+")
DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(d|h|min|s)")


def parse_duration(typed: str, key: str = "budget") -> float:
    """Return the seconds of "90s", "30min", "1.5h", "1h30min" or "1d". Raise `ConfigError` for anything else, and for
    no time; `key` is what it was typed for."""
    text = typed.strip().lower()
    parts = DURATION_PART.findall(text) if DURATION.fullmatch(text) else []
    seconds = sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)
    if not seconds:
        raise ConfigError(f"{key}={typed}: wanted a time above 0 such as 90s, 30min, 2h or 1h30min")
    return seconds


def format_budget(seconds: float) -> str:
    """Format a time, never a shorter one: whole seconds below 2 minutes, whole minutes above, such as "1h30min"."""
    if seconds <= 120:
        return f"{max(1, math.ceil(seconds))}s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}min" if minutes else "")


PATH_KEYS = frozenset(
    [
        "data_dir",
        "output_dir",
        "store_dir",
        "run",
        "folder",
        "file",
        "preface",
        "weights",
        "initial_weights",
        "method.weights",
        "dataset.root",
        "dataset.archive",
        "dataset.unlabelled",
        "dataset.options.table",
        "figure.samples.root",
        "input.images",
    ]
)
# Free text, in which `~` is a letter like any other.
TEXT_KEYS = frozenset(
    [
        "dataset.name",
        "dataset.title",
        "dataset.options.group_pattern",
        "dataset.options.path",
        "dataset.options.label",
        "dataset.options.patient",
        "dataset.options.split",
        "dataset.options.suffix",
        "filters.settings",
        "imagenet",
    ]
)
# Commands whose first word may be a folder, as it is.
FOLDER_COMMANDS = frozenset(["init"])
# Hydra's options that take the word after them.
VALUED_FLAGS = frozenset(["--cfg", "-c", "--package", "-p", "--config-dir", "-cd", "--info", "-i", "-sc"])
# Groups of which one file is chosen; Hydra would take a list of one as well, and name it in no error.
SINGLE_CHOICE_GROUPS = frozenset(["backbone", "dataset", "images", "method", "recipe", "tracker"])
# Folders that Hydra makes, and where it would stand in them.
HYDRA_KEYS = frozenset(
    ["hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.output_subdir", "hydra.job.chdir"]
)
# Options beside the keys: Hydra's, those that do something here.
ALLOWED_FLAGS = frozenset(
    [
        *("--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--resolve", "--package", "-p", "--run", "-r"),
        *("--multirun", "-m", "--shell-completion", "-sc", "--config-path", "-cp", "--config-name", "-cn"),
        *("--config-dir", "-cd", "--experimental-rerun", "--info", "-i"),
    ]
)
# What sets which code Hydra runs, or where it finds configs: as a key, as a group, and as where a group goes.
CODE_KEY = re.compile(r"hydra|(.*@)?hydra[./](callbacks|searchpath)\b.*|.*@hydra|(.*[.@])?_target_")
NEGATIVE_NUMBER = re.compile(r"-\.?\d")
# A user name or token before the host, or a long value after a question mark.
URL_SECRET = re.compile(r"://[^/\s?#]*@|[?&][^=&\s]*=[^&\s'\"]{9,}")
QUOTED_TEXT = re.compile(r"""^(['"]).*\1$""", re.DOTALL)
NULL_WORDS = frozenset(["null", "None", ""])


def prepare_overrides(command: str, words: list[str]) -> list[str]:
    """Turn the words of a command line into Hydra's overrides. Raise `ConfigError` for those that it would misread."""
    check_flags(command, words)
    overrides = add_section_prefixes(command, add_folder_key(command, words))
    check_overrides(overrides)
    return quote_texts(overrides)


def add_folder_key(command: str, words: list[str]) -> list[str]:
    """The words with `folder=` before the folder of a command that is typed with one. It need not stand first.

    A word with `=` in it is a folder only if there is one of that name. Raises `ConfigError` for two.
    """
    if command not in FOLDER_COMMANDS:
        return words
    places = [
        place
        for place, (before, word) in enumerate(zip(["", *words], words, strict=False))
        if not word.startswith("-") and before not in VALUED_FLAGS and ("=" not in word or is_folder_argument(word))
    ]
    if len(places) > 1:
        got = " and ".join(repr(words[place]) for place in places[:2])
        raise ConfigError(f"{command}: got {len(places)} folders, {got}, wanted one; put a name with spaces in quotes")
    # Quoted here, since a folder may also be called `null`.
    return [f"folder={quote_value(expand_home(word))}" if place in places else word for place, word in enumerate(words)]


def is_folder_argument(word: str) -> bool:
    try:
        return Path(word).is_dir()
    except (OSError, ValueError):
        return False


def get_short_keys(command: str) -> tuple[str, frozenset[str]]:
    """Return the section whose keys are typed without it, and these keys.

    Filters of stored results are in `filters`, and what a command works on in `input`, since elsewhere some of them
    name a group, whose file Hydra would look for. A key that the command has itself is typed with the section.
    """
    from lowres_ssl.config.command_schemas import SCHEMAS  # OmegaConf, which `lowres-ssl --help` need not wait for

    schema = SCHEMAS[command]
    for section in ("filters", "input"):
        if kind := get_type_hints(schema).get(section):
            return section, frozenset(get_type_hints(kind)) - schema.__annotations__.keys()
    return "", frozenset()


def add_section_prefixes(command: str, overrides: list[str]) -> list[str]:
    """Put the section before each key that is typed without it."""
    section, keys = get_short_keys(command)
    return [f"{section}.{each}" if each.partition("=")[0] in keys else each for each in overrides]


def check_flags(command: str, words: list[str]) -> None:
    """Raises `ConfigError` for an option that there is not: Hydra's own words for it would be the whole usage."""
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("-") and name not in ALLOWED_FLAGS and not NEGATIVE_NUMBER.match(name):
            as_key = f"; if it is a key, type {name.lstrip('-').replace('-', '_')}=VALUE"
            hint = did_you_mean(name, ALLOWED_FLAGS, cutoff=0.7) or as_key
            raise ConfigError(f"unknown option {name}: `lowres-ssl {command} --help` lists options and keys{hint}")


def check_overrides(overrides: list[str]) -> None:
    """Raises `ConfigError` for what Hydra would take and do something else with than what is meant."""
    for override in overrides:
        key, equals, value = override.partition("=")
        name = key.lstrip("+~")
        if not equals or name.startswith("-"):
            continue
        if not override.isprintable() or not is_utf8(override):
            raise ConfigError(
                f"{override[:80]!r}: got a control character, or bytes that are no text; wanted plain text"
            )
        if name in SINGLE_CHOICE_GROUPS and "[" in value:
            raise ConfigError(
                f"{override}: got several values, or a list of one, wanted {name}=NAME; type -m {name}=a,b for a sweep"
            )
        if name == "hydra.mode":
            raise ConfigError("hydra.mode: leave it out; -m before the keys makes a sweep of them")
        if name in HYDRA_KEYS:
            raise ConfigError(f"{name}: where things are written is said by output_dir=FOLDER; leave it out")
        if CODE_KEY.fullmatch(name) or (name.startswith("hydra") and "_target_" in value):
            raise ConfigError(
                f"{name}: got what says which code Hydra runs, wanted keys of the command; leave it out, or choose a "
                "launcher or sweeper by its name, such as hydra/launcher=processes"
            )
        if name == "dataset.url":
            check_url(value)


def check_url(url: str) -> None:
    """Raises `ConfigError` for an address with a password or token in it: it would be written down with the results."""
    if URL_SECRET.search(url):
        raise ConfigError(
            "dataset.url: got an address with a user name, a password or a token, which every result would name; "
            "download it by hand and type dataset.archive=PATH"
        )


def is_utf8(text: str) -> bool:
    """Whether it can be written as UTF-8: a name typed in other bytes cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def quote_texts(overrides: list[str]) -> list[str]:
    """The overrides with each path and each free text quoted; others as they are.

    A value that is quoted already is left alone: that is how a sweep over several is typed.
    """
    return [quote_text(override) for override in overrides]


def quote_text(override: str) -> str:
    key, equals, value = override.partition("=")
    name = key.lstrip("+")
    if not equals or name not in PATH_KEYS | TEXT_KEYS or value in NULL_WORDS or QUOTED_TEXT.match(value):
        return override
    return f"{key}={quote_value(expand_home(value) if name in PATH_KEYS else value)}"


def expand_home(value: str) -> str:
    try:
        return str(Path(value).expanduser()) if value.startswith("~") else value
    except RuntimeError:  # `~name` of nobody here is an ordinary folder name
        return value


def escape_interpolations(value: Any, kept: re.Pattern[str] | None = None) -> Any:
    """A stored value as one that OmegaConf reads back as it is: plain objects, and `${` escaped, since a run that
    somebody else made must not look up our environment. Text that is wholly `kept` stays."""
    if isinstance(value, dict):
        return {key: escape_interpolations(inner, kept) for key, inner in value.items()}
    if isinstance(value, list):
        return [escape_interpolations(inner, kept) for inner in value]
    if isinstance(value, str) and not (kept and kept.fullmatch(value)):
        return re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", value)
    return value


def format_command(*words: str) -> str:
    """What to type in a shell; `words`: the command and its overrides."""
    return shlex.join(["lowres-ssl", *map(unquote, words)])


def unquote(word: str) -> str:
    """A path or a text without the quotes that `quote_text` gives it when it is typed; others as they are."""
    key, _, value = word.partition("=")
    plain = re.fullmatch(r"'([^'\\$]+)'", value)
    return f"{key}={plain[1]}" if plain and quote_text(f"{key}={plain[1]}") == word else word


def quote_value(value: str) -> str:
    r"""A string Hydra and OmegaConf read back as `value`: quotes escaped, and `${`, which would interpolate."""
    # Backslashes are special to the lexer only before a quote, so only those that stand there are doubled.
    escaped = re.sub(r"""(\\*)('|\Z)""", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value)
    # OmegaConf reads `\${` as a plain `${`.
    return "'" + re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", escaped) + "'"
