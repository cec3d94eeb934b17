"""What went wrong, in one line: our own errors, Hydra's, the operating system's.

Hydra ends every failure with exit code 1 and several lines; here each gets its exit code and the next thing to type.
"""

import errno
import re
from importlib.resources import files

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lowres_ssl.config.check import SCHEMAS
from lowres_ssl.config.keys import accepts_type, list_enum_values, list_group_keys, list_schema_keys, suggest_key
from lowres_ssl.config.user_config import get_user_conf
from lowres_ssl.errors import UserError, did_you_mean, escape_line, is_out_of_memory

CRASH_CODE, USAGE_CODE, DATA_CODE = 1, 2, 3
# What is wrong with a place rather than with the program.
PATH_ERRNOS = frozenset(
    getattr(errno, name)
    for name in [
        *("EACCES", "EPERM", "EEXIST", "ENOTDIR", "EISDIR", "ENOSPC", "EROFS", "EDQUOT", "ENAMETOOLONG", "ELOOP"),
        *("EIO", "ESTALE", "EFBIG"),
    ]
)
OUTPUT_KEYS = dict.fromkeys(("tables", "figures", "embed", "predict", "export"), "folder=FOLDER") | {
    "report": "file=FILE"
}
NONDETERMINISTIC = re.compile(r"(\S+) does not have a deterministic implementation")
CONFIG_GROUPS = ("backbone", "dataset", "images", "method", "recipe", "tracker")
# What has to be installed for a choice: ours, and the plugins' own that those extend.
PIP_EXTRAS = {
    **dict.fromkeys(("processes", "joblib"), "joblib"),
    **dict.fromkeys(("slurm", "slurm_local", "submitit_slurm", "submitit_local"), "slurm"),
    **dict.fromkeys(("search", "optuna"), "optuna"),
}
PLUGIN_GROUPS = ("hydra/launcher", "hydra/sweeper")
KEY_PATTERN = r"[a-z][\w.]*"
TYPE_TITLES = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def describe_error(error: BaseException, command: str, cfg: DictConfig | None = None) -> tuple[str | None, int]:
    """The line to show and the exit code; no line for a defect of ours, which shows its traceback.

    `cfg`: the job's, if it came so far.
    """
    if isinstance(error, UserError):
        return str(error), error.exit_code
    if isinstance(error, MissingConfigException):
        return format_missing_choice(str(error), command), USAGE_CODE
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        return f"{', '.join(CONFIG_GROUPS)} and probe: wanted the name of a choice, such as method=vicreg", USAGE_CODE
    if isinstance(error, ConfigCompositionException | HydraException | OmegaConfBaseException):
        return format_composition_error(error, command), USAGE_CODE
    if isinstance(error, OverflowError) and (large := re.search(r"full_key: (\S+)", str(error))):
        return f"{large[1]}: got a number that is too large", USAGE_CODE
    if isinstance(error, OSError) and error.strerror and error.errno in PATH_ERRNOS:
        if error.errno == errno.EISDIR:
            hint = "; a folder is where a file should be: move it away"
        else:
            place = OUTPUT_KEYS.get(command, "output_dir=FOLDER or data_dir=FOLDER")
            hint = f"; name another place with {place}" if error.filename else ""
        return f"cannot write or read {error.filename or 'the output'}: {error.strerror}{hint}", DATA_CODE
    if isinstance(error, YAMLError):
        mark = getattr(error, "problem_mark", None)
        where = f"{mark.name}, line {mark.line + 1}" if mark else "a config file"
        return f"{where}: not YAML ({getattr(error, 'problem', None) or error}); mend the file", USAGE_CODE
    if is_out_of_memory(error):
        return format_out_of_memory(cfg), CRASH_CODE
    if isinstance(error, RuntimeError) and (operation := NONDETERMINISTIC.match(str(error))):
        return f"deterministic=true: {operation[1]} cannot repeat its bytes here; type deterministic=false", USAGE_CODE
    if isinstance(error, ValueError) and "No trials are completed" in str(error):
        return "the search has found nothing: no trial came to a score", CRASH_CODE
    if type(error).__name__ == "UncompletedJobError":  # of submitit, which would put the job back into the queue
        return f"{' '.join(str(error).split())} The same command goes on from what was saved", CRASH_CODE
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return f"the step could not be compiled ({str(error).strip().splitlines()[0]}); type compile=never", CRASH_CODE
    return None, CRASH_CODE


def format_out_of_memory(cfg: DictConfig | None) -> str:
    """With the sizes that the memory was needed for, where the config decides them."""
    size = None if cfg is None else cfg.get("batch_size")
    if cfg is None or not isinstance(size, int):
        return "out of memory; try device=cpu, or a smaller batch_size, image_size or backbone where the command has it"
    wanted = f"batch_size={size}, image_size={cfg.image_size} and backbone={cfg.backbone.name}"
    smaller = f"batch_size={size // 2}, or a smaller image_size" if size >= 4 else "a smaller image_size"
    return f"out of memory with {wanted}; try {smaller} or backbone"


def format_missing_choice(text: str, command: str) -> str:
    r"""From "Could not find 'method/x'\n\nAvailable options in 'method':\n\ta\n\tb" to one line."""
    # Hydra's own config is where its launchers and sweepers are chosen.
    found = re.search(r"'([\w@./-]+)/([^/']*)'", text.removeprefix("In 'hydra/config': "))
    available = re.findall(r"^\t(\S+)$", text, re.MULTILINE)
    if found is None:
        return " ".join(text.split())
    group, choice = found.groups()
    if (group, choice) == ("hydra/launcher", "ray"):
        return f"{group}=ray: wanted ray_local or ray_cluster; type pip install 'lowres-ssl[ray]' first"
    if group in PLUGIN_GROUPS and choice in PIP_EXTRAS:
        return f"{group}={choice}: its engine is not installed; type pip install 'lowres-ssl[{PIP_EXTRAS[choice]}]'"
    if not available:  # Hydra lists them for a single choice only
        choices = files("lowres_ssl.conf").joinpath(group).iterdir()
        available = sorted(choice.name.removesuffix(".yaml") for choice in choices)
    hint = did_you_mean(choice, available, f"{group}={{}}")
    if group == "dataset" and not get_user_conf().is_dir():
        hint = hint or f"; configs of your own are read from {get_user_conf().absolute()}, which is not there"
    return f"{group}={choice}: there is no such choice; wanted one of {', '.join(available)}{hint}"


def format_composition_error(error: BaseException, command: str) -> str:
    """The first sentence of the chain of causes that says something, and where to read on."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = error.__cause__
    reason = [line.strip() for line in str(cause).splitlines() if line.strip()] if cause else []
    first = lines[0] if lines else type(error).__name__
    if unknown := re.match(r"Could not override '([^']*)'", first):
        return format_unknown_key(unknown[1], command)
    if isinstance(error, OverrideParseException):
        typed = escape_line(str(error.override))
        return f"{typed}: {'; '.join(reason)}" if reason else format_syntax_error(typed, command)
    if twice := re.match(r"Could not append to config. An item is already at '([^']*)'", first):
        return f"+{twice[1]}: there is such a key already; type {twice[1]}=VALUE, without +"
    if empty := re.search(r"missing mandatory value: (\S+)", first):
        return f"{empty[1]}: got none, wanted at least one: type {empty[1]}=NAME"
    if unresolved := re.search(r"interpolation.*full_key: (\S+)", " ".join(lines)):
        return f"{unresolved[1]}: {first}"
    if "${recipe}/${" in first:
        return f"one of {', '.join(CONFIG_GROUPS)} got several values, or none; type -m method=a,b for a sweep"
    if several := re.match(r"Ambiguous value for argument '(([^=]*)=(.*))'", first):
        typed, key, values = several.groups()
        listed = key not in CONFIG_GROUPS and accepts_type(list, SCHEMAS.get(command, object), key)
        as_list = f", or {key}=[{values}] for a list" if listed else ""
        return f"{typed}: got several values; type -m before it for a sweep{as_list}"
    if wrong := re.match(r"Error merging override (.*)", first):
        return format_wrong_value(wrong[1], reason[0] if reason else "it has the wrong type", command)
    if in_a_file := re.match(r"In '([^']*)': \w+ raised while composing config", first):
        where = next((line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), "")
        return f"{in_a_file[1]}.yaml: {where}: {lines[1]}; mend the file"
    said = "; ".join(dict.fromkeys([first, *reason[:1]]))
    return f"{said}; `lowres-ssl {command} --help` lists the keys"


def format_syntax_error(word: str, command: str) -> str:
    """An override that Hydra's grammar has no reading of."""
    if word == "help":
        return f"help: wanted KEY=VALUE; type lowres-ssl {command} --help"
    if re.fullmatch(KEY_PATTERN, word):
        return f"{word}: got no value, wanted {word}=VALUE"
    if pair := re.fullmatch(rf"({KEY_PATTERN})\s*[: ]\s*(\S+)", word):
        return f"{word}: wanted KEY=VALUE; type {pair[1]}={pair[2]}"
    key = re.match(rf"{KEY_PATTERN}(?==)", word)
    meant = word.rstrip(",") + "]" * (word.count("[") - word.count("]"))
    if key and meant != word:
        return f"{word}: cannot be read; type {meant}"
    if key and accepts_type(str, SCHEMAS.get(command, object), key[0]):
        quoted = f"; a value with brackets, commas or quotes in it is typed as '{key[0]}=\"VALUE\"'"
    else:
        quoted = ""
    return f"{word}: cannot be read, wanted KEY=VALUE{quoted}"


def format_wrong_value(typed: str, why: str, command: str) -> str:
    """KEY=VALUE with what the key wants, from OmegaConf's reason."""
    key, _, value = typed.partition("=")
    if kind := re.search(r"could not be converted to (\w+)", why):
        why = f"wanted {TYPE_TITLES.get(kind[1], kind[1])}"
    elif choices := list_enum_values(SCHEMAS.get(command, object), key.lstrip("+")) or parse_expected_words(why):
        why = f"wanted one of {', '.join(choices)}{did_you_mean(value, choices, key + '={}')}"
    elif "is not a valid bool" in why:
        why = "wanted true or false"
    elif "is not Optional" in why:
        why = "wanted a value"
    elif "is not a ListConfig" in why:
        why = f"wanted a list, such as {key}=[{value}]"
    elif "is not a subclass of" in why:
        why = "it is a section; set the keys in it, each as SECTION.KEY=VALUE"
    return f"{typed}: {why}"


def parse_expected_words(why: str) -> list[str]:
    """The words that OmegaConf says a key of Hydra's own takes."""
    found = re.search(r"expected one of \[(.*)\]", why)
    return found[1].split(", ") if found else []


def format_unknown_key(key: str, command: str) -> str:
    """What was probably meant, if that can be known."""
    group, _, inner = key.partition(".")
    probe = inner.partition(".")[0]
    if group == "probe" and key in list_group_keys("probe"):
        both = probe if probe == "knn" else f"knn,{probe}"
        return f"unknown key {key!r}: {probe} is not among the probes chosen; type probe=[{both}]"
    hint = suggest_key(key, list_schema_keys(SCHEMAS[command]), command) if command in SCHEMAS else ""
    return f"unknown key {key!r}: `lowres-ssl {command} --help` lists the keys{hint}"
