"""Describe any error in one line with an exit code: our own, Hydra's, the operating system's, PyTorch's."""

import errno
import re
from importlib.resources import files

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lowres_ssl.config.check import get_user_conf, list_keys
from lowres_ssl.errors import UserError, did_you_mean, escape_line, is_out_of_memory

CRASH_CODE, USAGE_CODE, DATA_CODE = 1, 2, 3
# What is wrong with a place rather than with the program.
PATH_ERRNOS = {
    *(errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOSPC, errno.EROFS),
    *(errno.EDQUOT, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.ESTALE, errno.EFBIG),
}
OUTPUT_KEYS = dict.fromkeys(("tables", "figures", "embed", "predict", "export"), "folder=FOLDER") | {
    "report": "file=FILE"
}
# What has to be installed for a launcher or sweeper: ours, and the plugins' own that those extend.
PIP_EXTRAS = {
    **dict.fromkeys(("processes", "joblib"), "joblib"),
    **dict.fromkeys(("slurm", "slurm_local", "submitit_slurm", "submitit_local"), "slurm"),
    **dict.fromkeys(("search", "optuna"), "optuna"),
}


def describe_error(error: BaseException, command: str) -> tuple[str | None, int]:
    """Return the line to show and the exit code; no line for a defect of ours, which shows its traceback."""
    text = " ".join(str(error).split())
    match error:
        case UserError():
            return str(error), error.exit_code
        case MissingConfigException():
            return format_missing_choice(str(error)), USAGE_CODE
        case ConfigCompositionException() | HydraException() | OmegaConfBaseException():
            return format_composition_error(error, command), USAGE_CODE
        case OverflowError() if "full_key: " in text:  # a number that no float can hold
            return format_composition_error(error, command), USAGE_CODE
        case YAMLError():
            return f"a config is not YAML: {text}", USAGE_CODE
        case OSError() if error.errno in PATH_ERRNOS:
            place = OUTPUT_KEYS.get(command, "output_dir=FOLDER or data_dir=FOLDER")
            what = f"cannot write or read {error.filename or 'the output'}: {error.strerror}"
            return f"{what}; name another place with {place}", DATA_CODE
        case ValueError() if text.startswith("Config group override"):
            return "a group wants the name of a choice, such as method=vicreg", USAGE_CODE
        case ValueError() if "No trials are completed" in text:
            return "the search has found nothing: no trial has a score", CRASH_CODE
        case RuntimeError() if "does not have a deterministic implementation" in text:
            return f"deterministic=true: {text.partition(',')[0]}; type deterministic=false", USAGE_CODE
    if is_out_of_memory(error):
        return "out of memory; try a smaller batch_size, image_size or backbone, or device=cpu", CRASH_CODE
    if type(error).__name__ == "UncompletedJobError":  # of submitit, which would put the job back into the queue
        return f"{text} The same command continues from what was saved", CRASH_CODE
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return f"the step could not be compiled ({str(error).strip().splitlines()[0]}); type compile=never", CRASH_CODE
    return None, CRASH_CODE


def format_missing_choice(text: str) -> str:
    r"""Shorten "Could not find 'method/x'\n\nAvailable options in 'method':\n\ta\n\tb" into one line."""
    found = re.search(r"'([\w@./-]+)/([^/']*)'", text.removeprefix("In 'hydra/config': "))
    if found is None:
        return " ".join(text.split())
    group, choice = found.groups()
    if group in ("hydra/launcher", "hydra/sweeper") and choice in PIP_EXTRAS:
        return f"{group}={choice}: its engine is not installed; type pip install 'lowres-ssl[{PIP_EXTRAS[choice]}]'"
    available = re.findall(r"^\t(\S+)$", text, re.MULTILINE)
    if not available:  # Hydra lists them for a single choice only
        folder = files("lowres_ssl.conf").joinpath(group)
        available = sorted(each.name.removesuffix(".yaml") for each in (folder.iterdir() if folder.is_dir() else ()))
    hint = did_you_mean(choice, available, f"{group}={{}}")
    if group == "dataset" and not get_user_conf().is_dir():
        hint = hint or f"; your own configs are read from {get_user_conf().absolute()}, which does not exist"
    if group == "backbone":
        hint += f"; a model of timm is typed backbone=timm backbone.model={choice}"
    return f"{group}={choice}: there is no such choice; wanted one of {', '.join(available)}{hint}"


def format_composition_error(error: BaseException, command: str) -> str:
    """Shorten a message of Hydra or OmegaConf to the key, the reason and what to type."""
    text = f"{error}\n{error.__cause__ or ''}".splitlines()
    lines = [line.strip().rstrip(".") for line in text if line.strip()] or [type(error).__name__]
    see_help = f"`lowres-ssl {command} --help` lists the keys"
    if unknown := re.match(r"Could not override '([^']*)'", lines[0]):
        return f"unknown key {unknown[1]!r}: {see_help}{did_you_mean(unknown[1], list_keys(command))}"
    if isinstance(error, OverrideParseException):
        how = "cannot be read, wanted KEY=VALUE; a value with brackets, commas or quotes is typed as 'KEY=\"VALUE\"'"
        return f"{escape_line(str(error.override))}: {how}"
    if wrong := re.match(r"Error merging override (.*?=(.*)|.*)", lines[0]):
        key = wrong[1].partition("=")[0].lstrip("+~")
        reason = lines[1] if len(lines) > 1 else "it has the wrong type"
        if "is not a ListConfig" in reason:
            return f"{wrong[1]}: got one value, wanted a list, such as {key}=[{wrong[2]}]"
        return f"{wrong[1]}: {reason}; {see_help}"
    key_lines = [line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")]
    reasons = [line for line in lines if not line.startswith(("full_key: ", "object_type", "reference_type"))]
    return f"{f'{key_lines[0]}: ' if key_lines else ''}{'; '.join(dict.fromkeys(reasons))}; {see_help}"
