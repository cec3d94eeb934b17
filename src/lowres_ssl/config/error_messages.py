"""Describe any error in one line with an exit code: our own, Hydra's, the operating system's, PyTorch's."""

import errno
import re
from importlib.resources import files

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lowres_ssl.config.check import list_keys
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
# What has to be installed for a choice: ours, and the plugins' own that those extend.
PIP_EXTRAS = {
    **dict.fromkeys(("processes", "joblib"), "joblib"),
    **dict.fromkeys(("slurm", "slurm_local", "submitit_slurm", "submitit_local"), "slurm"),
    **dict.fromkeys(("search", "optuna"), "optuna"),
}


def describe_error(error: BaseException, command: str, cfg: DictConfig | None = None) -> tuple[str | None, int]:
    """Return the line to show and the exit code; no line for a defect of ours, which shows its traceback.

    `cfg`: the job's, if it was composed.
    """
    if isinstance(error, UserError):
        return str(error), error.exit_code
    if isinstance(error, MissingConfigException):
        return format_missing_choice(str(error)), USAGE_CODE
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        return "a group wants the name of a choice, such as method=vicreg", USAGE_CODE
    if isinstance(error, ConfigCompositionException | HydraException | OmegaConfBaseException):
        return format_composition_error(error, command), USAGE_CODE
    if isinstance(error, OverflowError) and (large := re.search(r"full_key: (\S+)", str(error))):
        return f"{large[1]}: got a number that is too large", USAGE_CODE
    if isinstance(error, OSError) and error.strerror and error.errno in PATH_ERRNOS:
        place = OUTPUT_KEYS.get(command, "output_dir=FOLDER or data_dir=FOLDER")
        hint = f"; name another place with {place}" if error.filename else ""
        return f"cannot write or read {error.filename or 'the output'}: {error.strerror}{hint}", DATA_CODE
    if isinstance(error, YAMLError):
        mark = getattr(error, "problem_mark", None)
        where = f"{mark.name}, line {mark.line + 1}" if mark else "a config file"
        return f"{where}: not YAML ({getattr(error, 'problem', None) or error}); correct the file", USAGE_CODE
    if is_out_of_memory(error):
        return format_out_of_memory(cfg), CRASH_CODE
    if isinstance(error, RuntimeError) and (operation := NONDETERMINISTIC.match(str(error))):
        return f"deterministic=true: {operation[1]} cannot repeat its bytes here; type deterministic=false", USAGE_CODE
    if isinstance(error, ValueError) and "No trials are completed" in str(error):
        return "the search has found nothing: no trial has a score", CRASH_CODE
    if type(error).__name__ == "UncompletedJobError":  # of submitit, which would put the job back into the queue
        return f"{' '.join(str(error).split())} The same command continues from what was saved", CRASH_CODE
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return f"the step could not be compiled ({str(error).strip().splitlines()[0]}); type compile=never", CRASH_CODE
    return None, CRASH_CODE


def format_out_of_memory(cfg: DictConfig | None) -> str:
    """Name the sizes that the memory was needed for, where the config decides them."""
    size = None if cfg is None else cfg.get("batch_size")
    if cfg is None or not isinstance(size, int):
        return "out of memory; try device=cpu, or a smaller batch_size, image_size or backbone where the command has it"
    wanted = f"batch_size={size}, image_size={cfg.image_size} and backbone={cfg.backbone.name}"
    smaller = f"batch_size={size // 2}, or a smaller image_size" if size >= 4 else "a smaller image_size"
    return f"out of memory with {wanted}; try {smaller} or backbone"


def format_missing_choice(text: str) -> str:
    r"""From "Could not find 'method/x'\n\nAvailable options in 'method':\n\ta\n\tb" to one line."""
    found = re.search(r"'([\w@./-]+)/([^/']*)'", text.removeprefix("In 'hydra/config': "))
    if found is None:
        return " ".join(text.split())
    group, choice = found.groups()
    available = re.findall(r"^\t(\S+)$", text, re.MULTILINE)
    if group in ("hydra/launcher", "hydra/sweeper") and choice in PIP_EXTRAS:
        return f"{group}={choice}: its engine is not installed; type pip install 'lowres-ssl[{PIP_EXTRAS[choice]}]'"
    if not available:  # Hydra lists them for a single choice only
        folder = files("lowres_ssl.conf").joinpath(group)
        available = sorted(each.name.removesuffix(".yaml") for each in (folder.iterdir() if folder.is_dir() else ()))
    hint = did_you_mean(choice, available, f"{group}={{}}")
    if group == "dataset" and not get_user_conf().is_dir():
        hint = hint or f"; your own configs are read from {get_user_conf().absolute()}, which does not exist"
    return f"{group}={choice}: there is no such choice; wanted one of {', '.join(available)}{hint}"


def format_composition_error(error: BaseException, command: str) -> str:
    """Shorten messages of Hydra and OmegaConf to the key, the reason and what to type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = [line.strip() for line in str(error.__cause__ or "").splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    if unknown := re.match(r"Could not override '([^']*)'", first):
        hint = did_you_mean(unknown[1], list_keys(command))
        return f"unknown key {unknown[1]!r}: `lowres-ssl {command} --help` lists the keys{hint}"
    if isinstance(error, OverrideParseException):
        typed = escape_line(str(error.override))
        how = "cannot be read, wanted KEY=VALUE; a value with brackets, commas or quotes is typed as 'KEY=\"VALUE\"'"
        return f"{typed}: {reason[0] if reason else how}"
    if several := re.match(r"Ambiguous value for argument '(([^=]*)=(.*))'", first):
        typed, key, values = several.groups()
        return f"{typed}: got several values; type -m before it for a sweep, or {key}=[{values}] where it takes a list"
    if wrong := re.match(r"Error merging override (.*)", first):
        key = re.match(r"[+~]*([\w.]+)", wrong[1])
        hint = "" if key is None else f"; `lowres-ssl {command} --help` shows what {key[1]} takes"
        return f"{wrong[1]}: {reason[0].rstrip('.') if reason else 'it has the wrong type'}{hint}"
    if in_a_file := re.match(r"In '([^']*)': (\w+ raised while composing config.*)", first):
        where = next((line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), "")
        return f"{in_a_file[1]}.yaml: {where}: {lines[min(1, len(lines) - 1)]}; correct the file"
    said = "; ".join(dict.fromkeys(text.rstrip(".") for text in [first, *reason[:1]]))
    key = re.search(r"full_key: (\S+)", " ".join(lines))
    return f"{f'{key[1]}: ' if key else ''}{said}; `lowres-ssl {command} --help` lists the keys"
