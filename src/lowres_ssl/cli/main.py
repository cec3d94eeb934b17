"""Dispatch commands, and end with an exit code. Imports neither torch nor Hydra until a command is known.

The command is taken off the command line; what is left is Hydra's own grammar. `HELP` has the exit codes.
"""

import os
import signal
import sys
from importlib import import_module
from typing import NoReturn

from lowres_ssl import __version__
from lowres_ssl.config.overrides import prepare_overrides
from lowres_ssl.console import QUIET_VARIABLE, ignore_broken_pipe, log_error
from lowres_ssl.errors import ConfigError, did_you_mean
from lowres_ssl.train.signals import raise_terminated

COMMANDS = {
    "init": "look at a folder of your images, write a config for it, and say what to type next",
    "pretrain": "pre-train an encoder on your images, then score it",
    "benchmark": "which method for my images: all of them, their scores and the report, in a given time",
    "evaluate": "score a finished run's encoder, or a file of weights, again",
    "tune": "choose batch size and learning rate of the linear evaluation on the validation images (Table 1)",
    "data": "which images are there and which are not; fetch, verify, prepare, leakage",
    "runs": "finished and unfinished runs with their scores",
    "tables": "the paper's tables from stored results: ours beside the published numbers, with intervals",
    "compare": "test each method against the better random encoder, and check the paper's claims",
    "figures": "the paper's figures from stored runs",
    "report": "all of it in one HTML file to look at: tables, curves, feature maps with the images, hard images",
    "export": "a finished run's encoder for other programs: torchvision, timm, TorchScript, ONNX, a model hub",
    "embed": "the features of every image in a folder, by a finished run's encoder",
    "predict": "label every image in a folder with a probe that a finished run has stored",
    "doctor": "device, precision, versions, data sets, disk: what would run here",
}

LISTING_COMMANDS = ("data", "runs", "tables", "compare", "doctor")

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
lowres-ssl --completion        how to switch on completion in bash, zsh or fish
lowres-ssl --quiet COMMAND     only results and errors
lowres-ssl --version           the version

Data sets live in data/, runs in outputs/ and your own configs in lowres_ssl_conf/ below the folder you stand in, or
where LOWRES_SSL_DATA, LOWRES_SSL_OUTPUTS and LOWRES_SSL_CONF say. Exit codes: 0 done, 1 crash, 2 usage or config,
3 data, 4 incompatible checkpoint, 130 interrupted, 143 terminated.
"""


def main() -> None:
    """Run the console script, and end the process with one of the exit codes."""
    signal.signal(signal.SIGTERM, raise_terminated)
    try:
        dispatch()
    except ConfigError as error:
        exit_with_error(str(error), error.exit_code)
    except KeyboardInterrupt as interruption:  # `Interrupted` is one
        said = str(interruption) or "interrupted; what was finished is kept, and the same command goes on"
        exit_with_error(said, getattr(interruption, "exit_code", 130))


def dispatch() -> None:
    """Answer at once, or run the command. Raises `ConfigError` for what cannot be one."""
    arguments = [each for each in sys.argv[1:] if each != "--quiet"]
    if len(arguments) < len(sys.argv) - 1:
        os.environ[QUIET_VARIABLE] = "1"  # where the workers of a launcher see it, too
    if sys.platform == "win32":
        raise ConfigError("lowres-ssl runs on Linux and macOS; on Windows use it inside WSL2 (wsl --install)")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return
    if arguments[0] in ("-V", "--version"):
        print(f"lowres-ssl {__version__}")
        return
    if arguments[0] in ("--completion", "--completion-script", "--candidates"):
        print_completion(*arguments[:2])
        return
    command, overrides = arguments[0], arguments[1:]
    if command not in COMMANDS:
        hint = did_you_mean(command, COMMANDS, "lowres-ssl {}")
        raise ConfigError(f"unknown command {command!r}: wanted one of {', '.join(COMMANDS)}{hint}")
    sys.argv = [sys.argv[0], *prepare_overrides(command, overrides)]
    if command in LISTING_COMMANDS:
        # A closed pipe (`lowres-ssl runs | head`) is the reader's choice, not a crash. What computes goes on.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    else:
        ignore_broken_pipe()
    compose_and_run(command)


def print_completion(what: str, argument: str = "bash") -> None:
    """Print how to switch completion on, a shell's script for it, or what that script asks for."""
    from lowres_ssl.cli.completion import COMPLETION_SCRIPTS, INSTRUCTIONS, complete_line, make_hydra_completer

    if what == "--completion":
        print(INSTRUCTIONS, end="")
    elif what == "--candidates":
        print("\n".join(complete_line(argument, list(COMMANDS), make_hydra_completer(compose_and_run))))
    elif argument in COMPLETION_SCRIPTS:
        print(COMPLETION_SCRIPTS[argument], end="")
    else:
        raise ConfigError(f"--completion-script {argument}: wanted one of {', '.join(COMPLETION_SCRIPTS)}")


def compose_and_run(command: str) -> None:
    """Compose the config and run the command, through Hydra's own entry point."""
    import hydra
    from hydra.core.plugins import Plugins
    from omegaconf import DictConfig

    from hydra_plugins.lowres_ssl import PLUGINS
    from lowres_ssl.config.check import UserConfPlugin, register_schemas
    from lowres_ssl.config.error_messages import describe_error
    from lowres_ssl.sweeps import print_failures, run_job

    # Errors come back to this function instead of ending in Hydra's own traceback printer.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register_schemas(command)
    for plugin in (*PLUGINS, UserConfPlugin):  # which Hydra does not find itself in an editable installation
        Plugins.instance().register(plugin)

    def task(cfg: DictConfig) -> object:
        # Imported within the job: what is missing or broken is then reported as the job's failure.
        return run_job(lambda cfg: import_module(f"lowres_ssl.commands.{command}").main(cfg), command, cfg)

    try:
        hydra.main(version_base="1.3", config_path="pkg://lowres_ssl.conf", config_name=command)(task)()
    except Exception as error:
        print_failures()  # a sweep's end was not reached
        message, code = describe_error(error, command)
        if message is None:
            raise
        exit_with_error(message, code)


def exit_with_error(message: str, code: int) -> NoReturn:
    log_error(message)
    sys.exit(code)
