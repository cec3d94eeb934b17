"""`lowres-ssl doctor`: device, precision, versions, data sets, disk: what would run here."""

import shutil
from pathlib import Path

import torch
from omegaconf import DictConfig

from lowres_ssl.config import DoctorConfig, read_config
from lowres_ssl.data.fetch import is_there
from lowres_ssl.device import Compute, device_name, has_native_bf16, is_faster_in_bf16, resolve
from lowres_ssl.errors import CheckpointError, DataError
from lowres_ssl.own_data.known_sets import known_sets
from lowres_ssl.provenance import commit, versions
from lowres_ssl.runs import check_writable, find_runs
from lowres_ssl.terminal import columns, in_words


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, DoctorConfig)
    compute = resolve(config.device.name, config.precision.name)
    rows = [
        ["device", about_device(compute)],
        ["precision", about_precision(compute)],
        ["versions", ", ".join(f"{name} {number}" for name, number in versions().items())],
        ["commit", commit() or "not run from a git checkout"],
        ["data", about_data(config.data_dir)],
        ["runs", about_runs(Path(config.output_dir))],
    ]
    print(columns(None, rows))


def about_device(compute: Compute) -> str:
    if compute.device.type == "cuda":
        memory = torch.cuda.get_device_properties(compute.device).total_memory
        return f"{device_name(compute.device)}, {in_words(memory)}"
    return f"{device_name(compute.device)}, {torch.get_num_threads()} threads; no CUDA GPU in use"


def about_precision(compute: Compute) -> str:
    native = "has bf16 natively" if has_native_bf16(compute.device) else "has no bf16 of its own"
    if has_native_bf16(compute.device) and not is_faster_in_bf16(compute.device):
        native += ", but is slower in it than in fp32"
    return f"{compute.precision}: the device {native}"


def about_data(data_dir: str) -> str:
    there = [dataset.title for _, dataset in known_sets(data_dir)[0] if is_there(Path(dataset.root))]
    return f"{data_dir}: {', '.join(there) or 'no data set yet'}; the others: lowres-ssl data"


def about_runs(output_dir: Path) -> str:
    """How many runs there are, and whether more can be written. Makes no folder that is not there."""
    place = next(folder for folder in (output_dir.absolute(), *output_dir.absolute().parents) if folder.exists())
    free = f"{in_words(shutil.disk_usage(place).free)} free"
    try:
        check_writable(place)
        finished = [run.description()["finished"] for run in find_runs(output_dir)]
    except (DataError, CheckpointError) as error:
        return f"{free}; {error}"
    return f"{output_dir}: {sum(finished)} finished, {len(finished) - sum(finished)} unfinished; {free}"
