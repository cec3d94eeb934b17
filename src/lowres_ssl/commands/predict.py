"""Run `lowres-ssl predict`: label images with a probe that a finished run has stored."""

import json
from pathlib import Path

from omegaconf import DictConfig

from lowres_ssl.commands.embed import check_run_and_images, choose_exclude, get_output_folder, print_written_files
from lowres_ssl.config.check import read_config
from lowres_ssl.config.command_schemas import PredictConfig
from lowres_ssl.console import format_table, pluralise
from lowres_ssl.inference.api import predict
from lowres_ssl.inference.given_images import list_given_images
from lowres_ssl.inference.load import choose_stored_result, load_portable_encoder
from lowres_ssl.runs.run import find_run
from lowres_ssl.stats.calibration import CHANCE_DRAWS

CHANCE_ERROR_NOTE = (
    "By chance: the error of probabilities that are exactly right, mean and 95% quantile of "
    f"{CHANCE_DRAWS} simulations.\nAn error below that quantile does not show that the probabilities are off."
)


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, PredictConfig)
    run, images = check_run_and_images(config.run, config.input.images)
    stored, device, precision = find_run(Path(config.output_dir), run), config.device.name, config.precision.name
    encoder = load_portable_encoder(stored, "selected", device, precision)
    result_folder, result = choose_stored_result(encoder.run, config.input.probe, encoder.compute.precision)
    if result.encoder != encoder.file.name:
        encoder = load_portable_encoder(stored, stored.get_scored_encoder(result), device, precision)
    folder = get_output_folder(config.folder, Path(config.output_dir) / "predict" / encoder.run.name, images)
    written = predict(
        encoder,
        list_given_images(images, choose_exclude(config.input.exclude, encoder)),
        probe=result_folder.name,
        folder=folder,
        formats=config.formats,
        batch_size=config.batch_size,
        skip_unreadable=config.skip_unreadable,
        progress=True,
    )
    print_written_files(
        written, f"{pluralise(written.images, 'image')} labelled by {result.label} ({result_folder.name})"
    )
    print(f"\n{format_calibration(written.record)}", flush=True)


def format_calibration(record: Path) -> str:
    """Format the calibration errors, a line for each of validation and test, beside what chance alone gives: the mean
    and the 95% quantile."""
    stored = json.loads(record.read_text(encoding="utf-8"))["calibration"]
    rows = []
    for side, error in stored["errors"].items():
        row = [side, f"{error['n']:,}"]
        for own in (error["before"], error["after"]):
            row += [f"{own['value']:.3f}", f"{own['chance']:.3f} (to {own['chance_high']:.3f})"]
        rows.append(row)
    heads = ["expected calibration error", "images", "before", "by chance", "after", "by chance"]
    return (
        f"{format_table(heads, rows, right=range(1, len(heads)))}\n\n{CHANCE_ERROR_NOTE}\n"
        f"Temperature {stored['temperature']:.3f} ({stored['chosen']})"
    )
