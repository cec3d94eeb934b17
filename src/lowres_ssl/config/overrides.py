"""Quote and expand what is typed on a command line: overrides, paths, filters, durations."""

import math
import os
import re
import shlex
from pathlib import Path
from typing import Any, get_type_hints

from lowres_ssl.errors import ConfigError, did_you_mean

UNIT_SECONDS = {"d": 86400, "h": 3600, "min": 60, "s": 1}
DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(d|h|min|s)\s*")


def parse_duration(typed: str) -> float:
    """Return the seconds of "90s", "30min", "1.5h", "1h30min" or "1d". Raise `ConfigError` for anything else, and for
    no time."""
    text = typed.strip().lower()
    seconds = sum(float(number) * UNIT_SECONDS[unit] for number, unit in DURATION_PART.findall(text))
    if not seconds or DURATION_PART.sub("", text):
        raise ConfigError(f"budget={typed}: wanted a time above 0 such as 90s, 30min, 2h or 1h30min")
    return seconds


def format_budget(seconds: float) -> str:
    """Format a time, never a shorter one: whole seconds below 2 minutes, whole minutes above, such as "1h30min"."""
    if seconds <= 120:
        return f"{max(1, math.ceil(seconds))}s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}min" if minutes else "")


# Commands whose first word may be a folder, as it is.
FOLDER_COMMANDS = frozenset(["init"])
# Groups of which one file is chosen; Hydra would take a list of one as well, and name it in no error.
SINGLE_CHOICE_GROUPS = frozenset(["backbone", "dataset", "images", "method", "recipe", "tracker"])
# What may be typed of Hydra's own: nothing that says which code it runs, or where it finds configs and writes.
ALLOWED_HYDRA_KEY = re.compile(r"hydra[./](launcher|sweeper|job_logging|verbose)\b[^@]*")
# Options of a data set that are no text.
PLAIN_VALUE = re.compile(r"true|false|[-+\d.,]+|\[.*\]|\{.*\}", re.IGNORECASE)
NEGATIVE_NUMBER = re.compile(r"-\.?\d")
# A user name or token before the host, or a long value after a question mark.
URL_SECRET = re.compile(r"://[^/\s?#]*@|[?&][^=&\s]*=[^&\s'\"]{9,}")
QUOTED_TEXT = re.compile(r"""^(['"]).*\1$""", re.DOTALL)
NULL_WORDS = frozenset(["null", "None", ""])


def prepare_overrides(command: str, words: list[str]) -> list[str]:
    """Turn the words of a command line into Hydra's overrides. Raise `ConfigError` for those that it would misread."""
    section, short = get_short_keys(command)
    typed = add_folder_key(command, words)
    overrides = [f"{section}.{each}" if each.partition("=")[0] in short else each for each in typed]
    check_overrides(command, overrides)
    return [quote_text(override) for override in overrides]


def list_flags() -> frozenset[str]:
    """List Hydra's options."""
    from hydra._internal.utils import get_args_parser  # not for `lowres-ssl --help`, which is to be quick

    return frozenset(get_args_parser()._option_string_actions)


def add_folder_key(command: str, words: list[str]) -> list[str]:
    """Put `folder=` before the first word, if the command takes a folder there and it may be one.

    A word with `=` in it is a folder only if there is one of that name.
    """
    if command not in FOLDER_COMMANDS or not words or words[0].startswith("-"):
        return words
    if "=" in words[0] and not os.path.isdir(words[0]):  # noqa: PTH112 - False for a name that no file can have
        return words
    # Quoted here, since a folder may also be called `null`.
    return [f"folder={quote_value(expand_home(words[0]))}", *words[1:]]


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


def check_overrides(command: str, overrides: list[str]) -> None:
    """Raises `ConfigError` for an option that there is not, and for what Hydra would take and do something else with
    than what is meant."""
    flags = list_flags()
    for override in overrides:
        key, _, value = override.partition("=")
        name = key.lstrip("+~")
        if key.startswith("-"):
            if key not in flags and not NEGATIVE_NUMBER.match(key):
                as_key = f"; if it is a key, type {key.lstrip('-').replace('-', '_')}=VALUE"
                hint = did_you_mean(key, flags, cutoff=0.7) or as_key
                raise ConfigError(f"unknown option {key}: `lowres-ssl {command} --help` lists options and keys{hint}")
        elif name in SINGLE_CHOICE_GROUPS and "[" in value:
            raise ConfigError(
                f"{override}: got several values, or a list of one, wanted {name}=NAME; type -m {name}=a,b for a sweep"
            )
        elif "_target_" in name or (
            "hydra" in re.split("[./@]", name) and ("_target_" in value or not ALLOWED_HYDRA_KEY.fullmatch(name))
        ):
            raise ConfigError(
                f"{name}: wanted a key of the command, or of Hydra a launcher or sweeper and its settings, such as "
                "hydra/launcher=processes; output_dir=FOLDER names where things are written"
            )
        elif name == "dataset.url":
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


def quote_text(override: str) -> str:
    """Quote the value of an override if that is a path or a free text.

    A value that is quoted already is left alone: that is how a sweep over several is typed.
    """
    from lowres_ssl.config.command_schemas import PATH_KEYS

    key, equals, value = override.partition("=")
    name = key.lstrip("+")
    if not equals or not is_text(name, value) or value in NULL_WORDS or QUOTED_TEXT.match(value):
        return override
    return f"{key}={quote_value(expand_home(value) if name in PATH_KEYS else value)}"


def is_text(key: str, value: str) -> bool:
    """Whether the value of a key is a path or free text, which need not be quoted when it is typed."""
    from lowres_ssl.config.command_schemas import PATH_KEYS, TEXT_KEYS

    is_option = key.startswith("dataset.options.") and not PLAIN_VALUE.fullmatch(value)
    return is_option or key in PATH_KEYS or key in TEXT_KEYS


def expand_home(value: str) -> str:
    try:
        return str(Path(value).expanduser()) if value.startswith("~") else value
    except RuntimeError:  # `~name` of nobody here is an ordinary folder name
        return value


def escape_interpolations(value: Any, kept: re.Pattern[str] | None = None) -> Any:
    """Turn a stored value into one that OmegaConf reads back as it is: with `${` escaped, since a run that somebody
    else made must not look up our environment. Text that is wholly `kept` stays."""
    if isinstance(value, dict):
        return {key: escape_interpolations(inner, kept) for key, inner in value.items()}
    if isinstance(value, list):
        return [escape_interpolations(inner, kept) for inner in value]
    if isinstance(value, str) and not (kept and kept.fullmatch(value)):
        return re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", value)
    return value


def format_command(*words: str) -> str:
    """Format what to type in a shell; `words`: the command and its overrides."""
    return shlex.join(["lowres-ssl", *map(unquote, words)])


def unquote(word: str) -> str:
    """Take off the quotes that `quote_text` gives a path or a text when it is typed; leave other words alone."""
    key, _, value = word.partition("=")
    plain = re.fullmatch(r"'([^'\\$]+)'", value)
    return f"{key}={plain[1]}" if plain and quote_text(f"{key}={plain[1]}") == word else word


def quote_value(value: str) -> str:
    r"""Quote a text so that Hydra and OmegaConf read it back: quotes escaped, and `${`, which would interpolate."""
    # Backslashes are special to the lexer only before a quote, so only those that stand there are doubled.
    escaped = re.sub(r"""(\\*)('|\Z)""", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value)
    return f"'{escape_interpolations(escaped)}'"
