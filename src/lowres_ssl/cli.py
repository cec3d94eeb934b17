"""Command dispatch and exit codes. Imports neither torch nor Hydra until a command is known.

The command is taken off the command line; what is left is Hydra's own grammar. Exit codes: 0 done, 1 crash, 2 usage
or config, 3 data, 4 incompatible checkpoint, 130 interrupted, 143 terminated.
"""

import os
import signal
import sys
from importlib import import_module
from typing import NoReturn

from lowres_ssl import __version__
from lowres_ssl.errors import ConfigError
from lowres_ssl.interruption import terminate
from lowres_ssl.overrides import check_overrides, place_filters, place_folder, quote_texts

COMMANDS = {
    "init": "look at a folder of your images, write a config for it, and say what to type next",
    "pretrain": "pre-train an encoder on your images, then score it",
    "benchmark": "which method for my images: all of them, their scores and the report, in a given time",
    "evaluate": "score a finished run's encoder, or a file of weights, again",
    "tune": "choose batch size and learning rate of the linear evaluation on the validation images (Table 1)",
    "data": "which images are there and which are not; fetch, verify, prepare, leakage",
    "runs": "finished and unfinished runs with their scores",
    "tables": "the paper's tables from stored results: ours beside the published numbers, with intervals",
    "compare": "which differences between methods mean anything, and what becomes of the paper's claims",
    "figures": "the paper's figures from stored runs",
    "report": "all of it in one HTML file to look at: tables, curves, feature maps with the images, hard images",
    "export": "a finished run's encoder for other programs: torchvision, timm, TorchScript, ONNX, a model hub",
    "embed": "the features of every image in a folder, by a finished run's encoder",
    "predict": "label every image in a folder with a probe that a finished run has stored",
    "doctor": "device, precision, versions, data sets, disk: what would run here",
}

LISTING = ("data", "runs", "tables", "compare", "doctor")

HELP = f"""\
lowres-ssl {__version__}: what does self-supervised pre-training on a small medical image set buy?

Usage: lowres-ssl COMMAND [key=value ...]

Commands:
{chr(10).join(f"  {name:<10}{purpose}" for name, purpose in COMMANDS.items())}

Examples:
  lowres-ssl init my_images
  lowres-ssl pretrain method=vicreg dataset=breast
  lowres-ssl pretrain -m method=simclr,dcl,simsiam,vicreg dataset=pneumonia batch_size=16,32,64
  lowres-ssl data dataset=colorectal fetch=true
  lowres-ssl runs format=csv

lowres-ssl COMMAND --help      what the command takes, with its groups and defaults
lowres-ssl COMMAND --cfg job   the config that would run
lowres-ssl --completion        how to switch on completion in your shell
lowres-ssl --version           the version

Data sets live in data/, runs in outputs/ and your own configs in lowres_ssl_conf/ below the folder you stand in, or
where LOWRES_SSL_DATA, LOWRES_SSL_OUTPUTS and LOWRES_SSL_CONF say. Exit codes: 0 done, 1 crash, 2 usage or config,
3 data, 4 incompatible checkpoint, 130 interrupted, 143 terminated.
"""

COMPLETION = """\
Bash completion of commands, groups and keys; put this line into your ~/.bashrc:

  source <(lowres-ssl --completion-script)
"""

# Hydra's own completion asks the program for candidates with the whole line in COMP_LINE; the command is taken out
# of that line, as it is taken off argv.
COMPLETION_SCRIPT = """\
_lowres_ssl_complete() {
    local line="${COMP_LINE:0:COMP_POINT}" current="${COMP_WORDS[COMP_CWORD]}"
    if [ "$COMP_CWORD" -le 1 ]; then
        COMPREPLY=($(compgen -W "@COMMANDS@" -- "$current"))
        return
    fi
    local command="${COMP_WORDS[1]}"
    COMPREPLY=($(COMP_LINE="${line/ $command/}" "${COMP_WORDS[0]}" "$command" -sc query=bash 2>/dev/null))
    [[ "${COMPREPLY[0]}" == *= || "${COMPREPLY[0]}" == *. ]] && compopt -o nospace
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
COMP_WORDBREAKS=$COMP_WORDBREAKS complete -o nosort -F _lowres_ssl_complete lowres-ssl
"""


def main() -> None:
    """The console script. Ends the process with one of the exit codes above."""
    signal.signal(signal.SIGTERM, terminate)
    try:
        dispatch()
    except KeyboardInterrupt as interruption:  # `Interrupted` is one
        said = str(interruption) or "interrupted; what was finished is kept, and the same command goes on"
        stop(said, getattr(interruption, "exit_code", 130))


def dispatch() -> None:
    """Answer at once, or run the command."""
    arguments = sys.argv[1:]
    if sys.platform == "win32":
        stop("lowres-ssl runs on Linux and macOS; on Windows use it inside WSL2 (wsl --install)", 2)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return
    if arguments[0] in ("-V", "--version"):
        print(f"lowres-ssl {__version__}")
        return
    if arguments[0] == "--completion":
        print(COMPLETION, end="")
        return
    if arguments[0] == "--completion-script":
        print(COMPLETION_SCRIPT.replace("@COMMANDS@", " ".join(COMMANDS)), end="")
        return
    command, overrides = arguments[0], arguments[1:]
    if command not in COMMANDS:
        stop(f"unknown command {command!r}: wanted one of {', '.join(COMMANDS)}{did_you_mean(command)}", 2)
    try:
        overrides = place_filters(command, place_folder(command, overrides))
        check_overrides(overrides)
    except ConfigError as error:
        stop(str(error), error.exit_code)
    sys.argv = [sys.argv[0], *quote_texts(overrides)]
    if command in LISTING:
        # A closed pipe (`lowres-ssl runs | head`) is the reader's choice, not a crash. Training must not die of it.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    run(command)


def run(command: str) -> None:
    """Compose the config and run the command, through Hydra's own entry point."""
    import hydra
    from omegaconf import DictConfig

    from lowres_ssl.config import register_schemas
    from lowres_ssl.failures import describe
    from lowres_ssl.own_conf import search_own_conf
    from lowres_ssl.sweeps import run_job

    # Errors come back to this function instead of ending in Hydra's own traceback printer.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register_schemas()
    search_own_conf()

    def task(cfg: DictConfig) -> object:
        # Imported within the job: what is missing or broken is then reported as the job's failure.
        return run_job(lambda cfg: import_module(f"lowres_ssl.commands.{command}").main(cfg), command, cfg)

    try:
        hydra.main(version_base="1.3", config_path="pkg://lowres_ssl.conf", config_name=command)(task)()
    except Exception as error:
        message, code = describe(error, command)
        if message is None:
            raise
        stop(message, code)


def did_you_mean(word: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, COMMANDS, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def stop(message: str, code: int) -> NoReturn:
    if message:
        print(f"lowres-ssl: {message}", file=sys.stderr)
    sys.exit(code)
