"""Run `lowres-ssl doctor`: print the device, precision, versions, data sets and disk of this machine."""

import shutil
from pathlib import Path

import torch
from omegaconf import DictConfig

from lowres_ssl.config.check import list_datasets, read_config
from lowres_ssl.config.command_schemas import DoctorConfig
from lowres_ssl.console import format_bytes, format_table
from lowres_ssl.data.download import is_folder_filled
from lowres_ssl.device import DevicePrecision, get_device_name, is_faster_in_bf16, resolve_device, supports_native_bf16
from lowres_ssl.environment import get_commit, get_versions
from lowres_ssl.errors import CheckpointError, DataError
from lowres_ssl.io.atomic import check_writable
from lowres_ssl.runs.run import find_runs


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, DoctorConfig)
    compute = resolve_device(config.device.name, config.precision.name)
    rows = [
        ["device", describe_device(compute)],
        ["precision", describe_precision(compute)],
        ["versions", ", ".join(f"{name} {number}" for name, number in get_versions().items())],
        ["commit", get_commit() or "not run from a git checkout"],
        ["data", describe_datasets(config.data_dir)],
        ["runs", describe_runs(Path(config.output_dir))],
    ]
    print(format_table(None, rows))


def describe_device(compute: DevicePrecision) -> str:
    if compute.device.type == "cuda":
        memory = torch.cuda.get_device_properties(compute.device).total_memory
        return f"{get_device_name(compute.device)}, {format_bytes(memory)}"
    return f"{get_device_name(compute.device)}, {torch.get_num_threads()} threads; no CUDA GPU in use"


def describe_precision(compute: DevicePrecision) -> str:
    native = "has bf16 natively" if supports_native_bf16(compute.device) else "has no bf16 of its own"
    if supports_native_bf16(compute.device) and not is_faster_in_bf16(compute.device):
        native += ", but is slower in it than in fp32"
    return f"{compute.precision}: the device {native}"


def describe_datasets(data_dir: str) -> str:
    there = [dataset.title for _, dataset in list_datasets(data_dir)[0] if is_folder_filled(Path(dataset.root))]
    return f"{data_dir}: {', '.join(there) or 'no data set yet'}; the others: lowres-ssl data"


def describe_runs(output_dir: Path) -> str:
    """Count the runs, and check that more can be written. Makes no folder that is not there."""
    place = next(folder for folder in (output_dir.absolute(), *output_dir.absolute().parents) if folder.exists())
    free = f"{format_bytes(shutil.disk_usage(place).free)} free"
    try:
        check_writable(place)
        finished = [run.read().outcome is not None for run in find_runs(output_dir)]
    except (DataError, CheckpointError) as error:
        return f"{free}; {error}"
    return f"{output_dir}: {sum(finished)} finished, {len(finished) - sum(finished)} unfinished; {free}"
