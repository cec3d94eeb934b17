"""A benchmark's plan as it is stored, so that the same command goes on with the same plan: written and read here alone.

`outputs/benchmark/<dataset>-<hash8>.json` is the plan of what was asked, the budget included; the folder it names,
`outputs/benchmark/<dataset>-<hash8>/`, holds the runs of every plan that differs in budget, methods, epochs and seeds
only, so that a larger budget with the same epochs finds the runs of a smaller one. Knows no torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from lowres_ssl.benchmark.allotment import Allotment, Costs
from lowres_ssl.files.hashes import digest
from lowres_ssl.files.sealed import write_sealed
from lowres_ssl.files.stored import WRITTEN, read_json

NEW_PLAN = "type the same command with force=true for a new plan; the runs stay"
OF_THE_CALL = ("path", "store_dir", "flags")
FREE = ("budget", "methods", "seeds", "epochs", "fewer_labels", "chosen_by")  # what plans of one folder may differ in


@dataclass(frozen=True)
class Study:
    """What is to be run, and how far it is.

    words: what every training is typed with, beside method, seed and epochs; shown: of them, what tells its results
    from others of the folder. done: seconds by step. dropped: steps left out for want of time, failed: a line each.
    spent: seconds of the budget that are used up. path, store_dir and flags, such as --config-dir, are of this call,
    and are not stored.
    """

    path: Path
    store_dir: Path
    flags: tuple[str, ...]
    asked: Mapping[str, Any]
    methods: tuple[str, ...]
    words: tuple[str, ...]
    shown: tuple[str, ...]
    costs: Costs
    views: Mapping[str, float]
    device: str
    allotment: Allotment
    done: Mapping[str, float] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    spent: float = 0.0

    @property
    def folder(self) -> Path:
        """Where its runs and its report are: an `output_dir` of their own."""
        same = {key: value for key, value in self.asked.items() if key not in FREE}
        return self.path.parent / named(self.asked, same)

    def file(self, what: str) -> Path:
        """A file of this plan in that folder, such as "report.html"."""
        stem, _, ending = what.partition(".")
        return self.folder / f"{stem}-{self.path.stem.rpartition('-')[2]}.{ending}"

    @property
    def report(self) -> Path:
        return self.file("report.html")

    @property
    def log(self) -> Path:
        """What the commands printed."""
        return self.file("log.txt")

    @property
    def budget(self) -> float:
        return float(self.asked["budget"])

    def seeds_done(self) -> list[int]:
        """Those that every method has been run with, or has failed with."""
        return [seed for seed in range(self.allotment.seeds) if seed_step(seed) in self.done]

    def after(self, step: str, seconds: float, failed: tuple[str, ...] = ()) -> Self:
        """The step is done, or was begun in vain."""
        return replace(self, done={**self.done, step: seconds}, failed=(*self.failed, *failed))


def seed_step(seed: int) -> str:
    return f"seed {seed}"


def named(asked: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    return f"{asked['dataset']}-{digest(content)[:8]}"


def study_path(output_dir: Path, asked: Mapping[str, Any]) -> Path:
    """Where the plan of what was asked is, or would be."""
    return output_dir / "benchmark" / f"{named(asked, asked)}.json"


def read_study(output_dir: Path, store_dir: Path, flags: tuple[str, ...], asked: Mapping[str, Any]) -> Study | None:
    """The plan of what was asked; None if there is none. Its steps are to do again where its runs have been removed.

    Raises `CheckpointError` if the file is damaged.
    """
    path = study_path(output_dir, asked)
    content = read_json(path, "benchmark", NEW_PLAN)
    if content is None:
        return None
    study = Study(
        path=path,
        store_dir=store_dir,
        flags=flags,
        asked=asked,
        methods=tuple(content["methods"]),
        words=tuple(content["words"]),
        shown=tuple(content["shown"]),
        costs=Costs(**content["costs"]),
        views=content["views"],
        device=content["device"],
        allotment=Allotment(**content["allotment"] | {"extras": tuple(content["allotment"]["extras"])}),
        done=content["done"],
        dropped=tuple(content["dropped"]),
        failed=tuple(content["failed"]),
        spent=content["spent"],
    )
    return study if study.folder.is_dir() else replace(study, done={}, dropped=(), failed=(), spent=0.0)


def write_study(study: Study) -> None:
    content = {key: value for key, value in asdict(study).items() if key not in OF_THE_CALL}
    write_sealed(study.path, {"schema": WRITTEN["benchmark"], **content})
