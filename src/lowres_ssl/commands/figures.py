"""Run `lowres-ssl figures`: draw the paper's figures from stored runs, as PNG and PDF."""

from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lowres_ssl.config.check import read_config
from lowres_ssl.config.command_schemas import FiguresConfig
from lowres_ssl.console import log_error, log_info, log_warning, pluralise
from lowres_ssl.errors import ConfigError, DataError, UserError
from lowres_ssl.io.atomic import check_writable
from lowres_ssl.reporting.figures import Picture, build_picture
from lowres_ssl.reporting.figures._style import save_figure, use_figure_style
from lowres_ssl.reporting.stored import Stored


def main(cfg: DictConfig) -> None:
    """Draw what can be drawn; report the rest, which ends the command with the exit code of the last. But where no
    figure was asked for by name, it is no failure that one of them has no runs: others have."""
    config = read_config(cfg, FiguresConfig)
    if not config.figure:
        raise ConfigError("figure=[]: nothing to draw; type figure=[batch_size,tsne]")
    pictures = {name: build_picture(name, arguments) for name, arguments in config.figure.items()}
    stored = Stored.read(config, config.store_dir)
    stored.log_notes()
    if config.run is not None:
        of_run = stored.results[stored.results["run"] == Path(config.run).name]
        if of_run.empty:
            raise DataError(f"run={config.run}: no such run below {config.output_dir}; see them with lowres-ssl runs")
        stored = replace(stored, results=of_run)
    folder = Path(config.folder)
    check_writable(folder)
    log_info(f"drawing {', '.join(pictures)} from {pluralise(len(stored.results), 'stored result')}, into {folder}")
    failures: list[UserError] = []
    for picture in pictures.values():
        try:
            draw_and_save(picture, stored, folder)
        except UserError as error:
            failures.append(error)
    stored.log_notes()
    asked = any(word.startswith("figure=") for word in HydraConfig.get().overrides.task)
    if not asked and len(failures) < len(pictures):
        for failure in failures:
            if isinstance(failure, DataError):
                log_warning(str(failure))
        failures = [failure for failure in failures if not isinstance(failure, DataError)]
    for text in dict.fromkeys(map(str, failures[:-1])):  # results that disagree do so for several figures
        if text != str(failures[-1]):
            log_error(text)
    if failures:
        raise failures[-1]


def draw_and_save(picture: Picture, stored: Stored, folder: Path) -> None:
    """Draw, write, and print where each file is."""
    with use_figure_style():
        for name, figure in picture.draw(stored).items():
            for path in save_figure(figure, folder, name):
                print(path, flush=True)
