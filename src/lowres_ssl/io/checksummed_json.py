"""Stored formats: the version that each is written in and those that are read, and JSON that is what it should be.

All versions stand here, but for those that are part of a run's identity (`IDENTITY_VERSION`, `DECODER_VERSION`). To
change a format, raise its number in `WRITTEN`; let `OLDEST` stay where the reader still understands the older one,
else raise it as well, and say in the changelog which command has to be typed again.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from lowres_ssl.errors import CheckpointError, DamagedError
from lowres_ssl.io.atomic import write_json


def hash_content(content: Any) -> str:
    """Hex SHA-256 of plain data: the same for the same keys and values, in whatever order the keys came."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path, repair: str = "name a file that can be read") -> str:
    """Hex SHA-256 of a file's bytes. Raises `CheckpointError`, which ends with `repair`, if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {repair}") from error


CHECKSUM_KEY = "sha256"


def write_checked_json(path: Path, content: Mapping[str, Any]) -> None:
    """As `write_json`, with the seal as the last key, in place of one that the content may have."""
    write_json(path, {**content, CHECKSUM_KEY: compute_checksum(content)})


def verify_checksum(content: Any) -> dict[str, Any]:
    """What was written, from what was read. Raises `ValueError` if there is no seal, or it does not fit."""
    if not isinstance(content, dict):
        raise ValueError("not a set of keys")
    inner = {key: value for key, value in content.items() if key != CHECKSUM_KEY}
    if content.get(CHECKSUM_KEY) != compute_checksum(inner):
        raise ValueError("its content does not fit its checksum")
    return inner


def compute_checksum(content: Mapping[str, Any]) -> str:
    """Hex SHA-256 of the content as JSON holds it, in whatever order its keys are."""
    as_read = json.loads(
        json.dumps({key: value for key, value in content.items() if key != CHECKSUM_KEY}, allow_nan=False)
    )
    text = json.dumps(as_read, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


FORMAT_VERSIONS = {
    "run": 2,  # run.json; of this and the next three, 1 had no seal (see sealed.py)
    "result": 2,  # result.json and predictions.npz; 1 had patients by name where 2 has keyed hashes
    "tuned": 2,  # outputs/tuned/*.json
    "benchmark": 3,  # outputs/benchmark/*.json: plans; 2 had no further random seeds, and left no method out
    "split": 2,  # split.json; 1 did not say whether its image names are hashed: they are not
    "tensors": 1,  # encoders, classifiers, features; what has no number is of version 1
    "checkpoint": 2,  # checkpoint.pt; 1 had neither a memory layout nor a compiler's seconds
    "record": 1,  # what embed and predict say of the files they write; of it only `folder` is read
    "store": 2,  # decoded images; another version is made anew, since the images are there
    "index": 2,  # what was read of each image file; likewise
}
OLDEST_VERSIONS = FORMAT_VERSIONS | dict.fromkeys(("run", "result", "tuned", "split"), 1)

NUMBER_TYPES = (int, float)
OPTIONAL_NUMBER_TYPES = (int, float, type(None))
SPLIT_TYPES: dict[str, Any] = {"split": dict, "split.kind": str, "split.seed": int, "split.digest": str}
# What readers build on: these, where they are there, are of these types. What is not there is noticed when it is read.
RECORD_TYPES: dict[str, dict[str, Any]] = {
    "run": SPLIT_TYPES
    | dict.fromkeys(
        ["method", "entry", "dataset", "title", "recipe", "backbone", "precision", "store", "pretrain_on"], str
    )
    | dict.fromkeys(["seed", "image_size", "batch_size", "epochs_wanted", "unlabelled_images"], int)
    | dict.fromkeys(["identity", "identity.images", "config", "config.dataset", "config.backbone"], dict)
    | {"finished": bool, "identity.images.digest": str, "encoders": dict, "files": dict, "probe": dict, "probe.*": dict}
    | {"chance_loss": OPTIONAL_NUMBER_TYPES, "selected_epoch": int}
    | {"label_fraction": OPTIONAL_NUMBER_TYPES, "label_draw": (int, type(None)), "typed": list, "typed.*": str},
    "result": SPLIT_TYPES
    | dict.fromkeys(["run", "probe", "label", "encoder", "precision", "dataset", "title", "device", "recipe"], str)
    | dict.fromkeys(["settings", "test", "labels", "images", "versions", "config", "config.backbone"], dict)
    | dict.fromkeys([f"images.{side}" for side in ("train", "validation", "test")], int)
    | {
        "validation": (dict, type(None)),
        "validation.accuracy": NUMBER_TYPES,
        "test.n": int,
        "test.confusion_matrix": list,
    }
    | dict.fromkeys([f"test.{name}" for name in ("accuracy", "weighted_f1", "macro_f1")], OPTIONAL_NUMBER_TYPES)
    | dict.fromkeys([f"test.{name}" for name in ("balanced_accuracy", "auroc")], OPTIONAL_NUMBER_TYPES)
    | {
        "labels.fraction": NUMBER_TYPES,
        "labels.draw": int,
        "classes": list,
        "classes.*": str,
        "commit": (str, type(None)),
    }
    | {"seed": int, "versions.*": str, "predictions_sha256": str, "fitted_sha256": str, "depends_on_seed": bool},
    "tuned": SPLIT_TYPES
    | dict.fromkeys(["run", "entry", "method", "dataset", "title", "backbone", "split_digest", "rule"], str)
    | dict.fromkeys(["seed", "image_size", "seeds", "chosen.batch_size"], int)
    | {
        "recipe": (str, type(None)),
        "chosen": dict,
        "chosen.learning_rate": NUMBER_TYPES,
        "chosen.accuracy": NUMBER_TYPES,
    }
    | dict.fromkeys(["chosen.loss", "chosen.accuracy_spread"], OPTIONAL_NUMBER_TYPES)
    | dict.fromkeys(["batch_size", "epochs"], (int, type(None))),
    "benchmark": dict.fromkeys(["costs", "costs.epoch", "costs.extras", "views", "settings", "schedule", "done"], dict)
    | dict.fromkeys(["dropped", "failed", "schedule.extras", "schedule.left_out"], list)
    | dict.fromkeys(["dropped.*", "failed.*", "device", "settings.backbone"], str)
    | dict.fromkeys(["costs.epoch.*", "costs.extras.*", "views.*", "done.*", "spent", "schedule.seconds"], NUMBER_TYPES)
    | dict.fromkeys([f"costs.{part}" for part in ("round_base", "run", "prepare", "report")], NUMBER_TYPES)
    | dict.fromkeys(["costs.start", "costs.random_seed"], NUMBER_TYPES)
    | dict.fromkeys([f"schedule.{part}" for part in ("seeds", "random_seeds", "epochs")], int),
    "split": {"kind": str, "seed": int, "digest": str, "notes": list, "notes.*": str, "hashed": bool}
    | dict.fromkeys(("train", "val", "test"), list)
    | {f"{side}.*": str for side in ("train", "val", "test")},
}


class StoredRecord(dict[str, Any]):
    """A JSON object of a stored file. A key that is not there is the file's fault: `CheckpointError`."""

    path: Path
    repair: str

    def __missing__(self, key: str) -> NoReturn:
        raise CheckpointError(f"{self.path}: {key} is missing, wanted what lowres-ssl writes; {self.repair}")


def read_record(path: Path, kind: str, repair: str) -> StoredRecord | None:
    """The file of a `kind` in `WRITTEN`; None if there is none.

    Raises `CheckpointError`, which ends with `repair`, if it is of a version that is not read here, or has something
    else where readers want a number, say, or cannot be read; `DamagedError` if its content is not as it was written.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, parse_int=parse_whole_number)
        if "\\u" in text:
            json.dumps(content, ensure_ascii=False).encode()  # half a letter could never be shown
    except FileNotFoundError:
        return None
    except OSError as error:  # it may be whole all the same
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {repair}") from error
    except json.JSONDecodeError as error:
        why = f"cut off or not JSON, line {error.lineno}" if text.strip() else "it is empty"
        raise DamagedError(f"{path}: cannot be read ({why}); {repair}") from error
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path}: cannot be read ({error}); {repair}") from error
    version = content.get(get_version_key(kind)) if isinstance(content, dict) else None
    check_version(version, kind, path, repair)
    if version != 1 or CHECKSUM_KEY in content:
        try:
            content = verify_checksum(content)
        except ValueError as error:
            raise DamagedError(f"{path}: cannot be read ({error}); {repair}") from error
    for name, wanted in RECORD_TYPES[kind].items():
        check_type(content, name.split("."), wanted, f"{path}: {name}", repair)
    stored: StoredRecord = attach_path(content, path, repair)
    return stored


def get_version_key(kind: str) -> str:
    return "version" if kind == "split" else "schema"


def check_version(got: object, kind: str, path: Path, repair: str) -> None:
    """Raises `CheckpointError` unless a file of version `got` is read here."""
    written, oldest = FORMAT_VERSIONS[kind], OLDEST_VERSIONS[kind]
    if type(got) is int and oldest <= got <= written:
        return
    reads = f"version {written}" if oldest == written else f"versions {oldest} to {written}"
    if type(got) is int and got > written:
        raise CheckpointError(
            f"{path}: version {got} of this format, wanted {reads}, written by a newer lowres-ssl; use that one, or "
            f"{repair}"
        )
    raise CheckpointError(f"{path}: got version {got}, wanted {reads}, written by another lowres-ssl; {repair}")


def check_type(content: Any, parts: list[str], wanted: type | tuple[type, ...], what: str, repair: str) -> None:
    """Raises `CheckpointError` if what stands at `parts`, "*" for each, is not of the type. A bool is no number."""
    if not parts:
        types = wanted if isinstance(wanted, tuple) else (wanted,)
        if type(content) not in types:
            names = " or ".join({type(None): "null", dict: "object"}.get(each, each.__name__) for each in types)
            raise CheckpointError(f"{what}: got {type(content).__name__}, wanted {names}; {repair}")
        return
    first, *rest = parts
    inner: list[Any] = []
    if first == "*":
        inner = list(content.values() if isinstance(content, Mapping) else content)
    elif isinstance(content, Mapping) and first in content:
        inner = [content[first]]
    for each in inner:
        check_type(each, rest, wanted, what, repair)


def attach_path(content: Any, path: Path, repair: str) -> Any:
    """The same content, its objects as `Stored`."""
    if isinstance(content, dict):
        stored = StoredRecord((key, attach_path(value, path, repair)) for key, value in content.items())
        stored.path, stored.repair = path, repair
        return stored
    if isinstance(content, list):
        return [attach_path(value, path, repair) for value in content]
    return content


def parse_whole_number(text: str) -> int:
    if len(text) > 19:  # what fits into 64 bits; tables hold no more
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)
