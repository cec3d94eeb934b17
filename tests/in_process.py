"""A command as it is typed, and its config, in this process: importing PyTorch for each would take long."""

import shlex
import signal
import sys
from collections.abc import Iterable, Sequence

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.initialize import get_gh_backup, restore_gh_from_backup

from lowres_ssl.cli import main
from lowres_ssl.config.check import UserConfPlugin, read_config, register_schemas
from lowres_ssl.config.command_schemas import SCHEMAS
from lowres_ssl.config.experiment_schema import PretrainConfig
from lowres_ssl.config.overrides import prepare_overrides, quote_text

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE)  # whose handlers a command changes


def type_command(*arguments: str) -> int:
    """Run `lowres-ssl ARGUMENTS`, and put the handlers of signals back; its exit code."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    code: object = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lowres-ssl", *map(str, arguments)])
        try:
            main.main()
        except SystemExit as stopped:
            code = stopped.code or 0
        finally:
            GlobalHydra.instance().clear()
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return code if isinstance(code, int) else 1


def compose_config(*words: str) -> PretrainConfig:
    """The config of `lowres-ssl pretrain WORDS`."""
    register_schemas("pretrain")
    before = get_gh_backup()
    GlobalHydra.instance().clear()
    with initialize_config_module("lowres_ssl.conf", version_base="1.3"):
        config = read_config(compose("pretrain", [quote_text(word) for word in words]), PretrainConfig)
    restore_gh_from_backup(before)
    return config


def check_commands(commands: Iterable[Sequence[str]]) -> None:
    """Check the config of each command, given as its words without `lowres-ssl`."""
    register_schemas(*SCHEMAS)
    Plugins.instance().register(UserConfPlugin)
    with initialize_config_module("lowres_ssl.conf", version_base="1.3"):
        for typed in commands:
            command, *words = (word for word in typed if word != "--quiet")
            try:
                read_config(compose(command, prepare_overrides(command, words)), SCHEMAS[command])
            except Exception as error:
                error.add_note(shlex.join(typed))
                raise
