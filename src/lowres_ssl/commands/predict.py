"""`lowres-ssl predict`: label every image in a folder with a probe that a finished run has stored."""

import json
from pathlib import Path

from omegaconf import DictConfig

from lowres_ssl.api import predict
from lowres_ssl.commands.embed import named, place_of, show
from lowres_ssl.config import read_config
from lowres_ssl.portable.encoder import open_encoder
from lowres_ssl.portable.prediction import choose_result, which_encoder
from lowres_ssl.portable.request import PREDICT_FORMATS, check_batch_size, check_formats
from lowres_ssl.runs import find_run
from lowres_ssl.schemas.export import PredictConfig
from lowres_ssl.statistics.calibration import CHANCE_DRAWS
from lowres_ssl.terminal import columns, count

BY_CHANCE = (
    "By chance: the error of probabilities that are exactly right, mean and 95% quantile of "
    f"{CHANCE_DRAWS} simulations.\nAn error below that quantile does not show that the probabilities are off."
)


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, PredictConfig)
    run, images = named(config.run, config.input.images)
    check_formats(config.formats, PREDICT_FORMATS)
    check_batch_size(config.batch_size)
    stored, device, precision = find_run(Path(config.output_dir), run), config.device.name, config.precision.name
    encoder = open_encoder(stored, "selected", device, precision)
    result_folder, result = choose_result(encoder.run, config.input.probe, encoder.compute.precision)
    if result["encoder"] != encoder.file.name:
        encoder = open_encoder(stored, which_encoder(result), device, precision)
    folder = place_of(config.folder, Path(config.output_dir) / "predict" / encoder.run.name, images)
    written = predict(
        encoder,
        images,
        probe=result_folder.name,
        folder=folder,
        formats=config.formats,
        batch_size=config.batch_size,
        skip_unreadable=config.skip_unreadable,
        progress=True,
    )
    show(written, f"{count(written.images, 'image')} labelled by {result['label']} ({result_folder.name})")
    print(f"\n{calibration_of(written.record)}", flush=True)


def calibration_of(record: Path) -> str:
    """Format the calibration errors, a line for each of validation and test, beside what chance alone gives."""
    stored = json.loads(record.read_text(encoding="utf-8"))["calibration"]
    rows = [
        [side, f"{error['n']:,}", *(text for key in ("before", "after") for text in error_texts(error[key]))]
        for side, error in stored["errors"].items()
    ]
    heads = ["expected calibration error", "images", "before", "by chance", "after", "by chance"]
    return (
        f"{columns(heads, rows, right=range(1, len(heads)))}\n\n{BY_CHANCE}\n"
        f"Temperature {stored['temperature']:.3f} ({stored['chosen']})"
    )


def error_texts(error: dict[str, float]) -> tuple[str, str]:
    """The error itself, and its mean and 95% quantile by chance."""
    return f"{error['value']:.3f}", f"{error['chance']:.3f} (to {error['chance_high']:.3f})"
