"""What each file of conf/method holds, and the same made small."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

CONF = Path(__file__).resolve().parents[1] / "conf"


def read_method(path: Path) -> dict[str, Any]:
    """A method's own arguments: without Hydra's defaults list, which may choose an optimiser."""
    read = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(read, dict)
    return {str(key): value for key, value in read.items() if key != "defaults"}


METHODS = {path.stem: read_method(path) for path in sorted((CONF / "method").glob("*.yaml"))}


def shrunk(arguments: dict[str, Any]) -> dict[str, Any]:
    """A method's arguments with every whole number, so every head's width, at 16 at most."""
    return {key: min(value, 16) if type(value) is int else value for key, value in arguments.items()}
