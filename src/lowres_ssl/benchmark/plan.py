"""A benchmark's plan as it is stored, so that the same command goes on with the same plan: written and read here alone.

`outputs/benchmark/<dataset>-<hash8>.json` is the plan of what was asked, the budget included; the folder it names,
`outputs/benchmark/<dataset>-<hash8>/`, holds the runs of every plan that differs in budget, methods, epochs and seeds
only, so that a larger budget with the same epochs finds the runs of a smaller one. Knows no torch.

A seal has no key: whoever hands a plan on can write whatever he likes. So no word of a plan goes onto a command line
but those that choose an encoder and three numbers; all others are those of the call.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from lowres_ssl.benchmark.schedule import MAX_SEEDS, BenchmarkCosts, BenchmarkSchedule
from lowres_ssl.config.experiment_schema import RANDOM_BASELINES, RANDOM_SEEDS
from lowres_ssl.errors import CheckpointError, escape_line
from lowres_ssl.io.checksummed_json import FORMAT_VERSIONS, hash_content, read_record, write_checked_json

NEW_PLAN_HINT = "type the same command with force=true for a new plan; the runs stay"
CALL_FIELDS = ("path", "store_dir", "flags", "typed", "methods")
VARIABLE_KEYS = (
    "budget",
    "methods",
    "seeds",
    "epochs",
    "fewer_labels",
    "chosen_by",
)  # what plans of one folder may differ in
# The words that may be fitted to the images, and those that tell results apart.
FITTED_OVERRIDE = re.compile(r"backbone=[a-z0-9_]+|(image_size|batch_size|probe\.knn\.k)=[1-9][0-9]{0,8}")
SHOWN_OVERRIDES = (re.compile(r"backbone=[A-Za-z0-9_.-]+"), re.compile(r"image_size=[1-9][0-9]{0,8}"))
EXTRA_NAMES = ("labels", "linear")
COST_FIELDS = tuple(each.name for each in fields(BenchmarkCosts))
SCHEDULE_FIELDS = tuple(each.name for each in fields(BenchmarkSchedule))
MAX_SECONDS = 1e9  # of anything that is planned: 30 years


@dataclass(frozen=True)
class BenchmarkPlan:
    """What is to be run, and how far it is.

    typed: what every training is typed with, beside method, seed and epochs, and what is always so; fitted: what was
    chosen beside that. shown: what tells its results from others of the folder: encoder and image size. done: seconds
    by step. dropped: steps left out for want of time, failed: a line each. spent: seconds of the budget that are used
    up. path, store_dir, flags, such as --config-dir, typed and methods are of this call, and are not stored.
    """

    path: Path
    store_dir: Path
    flags: tuple[str, ...]
    asked: Mapping[str, Any]
    methods: tuple[str, ...]
    typed: tuple[str, ...]
    fitted: tuple[str, ...]
    shown: tuple[str, ...]
    costs: BenchmarkCosts
    views: Mapping[str, float]
    device: str
    allotment: BenchmarkSchedule
    done: Mapping[str, float] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    spent: float = 0.0

    @property
    def own_costs(self) -> BenchmarkCosts:
        """Of the methods that are run."""
        return self.costs.drop_methods(self.allotment.left_out)

    @property
    def words(self) -> tuple[str, ...]:
        """Of every training."""
        return (*self.typed, *self.fitted)

    @property
    def folder(self) -> Path:
        """Where its runs and its report are: an `output_dir` of their own."""
        same = {key: value for key, value in self.asked.items() if key not in VARIABLE_KEYS}
        return self.path.parent / build_plan_name(self.asked, same)

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
        return [seed for seed in range(self.allotment.seeds) if format_seed_step(seed) in self.done]

    def random_seeds_done(self) -> list[int]:
        """Those of the random encoders, which may have more."""
        return list(range(self.allotment.random_seeds)) if RANDOM_STEP_NAME in self.done else self.seeds_done()

    def after(self, step: str, seconds: float, failed: tuple[str, ...] = ()) -> Self:
        """The step is done, or was begun in vain."""
        return replace(self, done={**self.done, step: seconds}, failed=(*self.failed, *failed))


RANDOM_STEP_NAME = "random seeds"  # further ones of the random encoders


def format_seed_step(seed: int) -> str:
    return f"seed {seed}"


def build_plan_name(asked: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    return f"{asked['dataset']}-{hash_content(content)[:8]}"


def get_plan_path(output_dir: Path, asked: Mapping[str, Any]) -> Path:
    """Where the plan of what was asked is, or would be."""
    return output_dir / "benchmark" / f"{build_plan_name(asked, asked)}.json"


def read_benchmark_plan(
    output_dir: Path, store_dir: Path, flags: tuple[str, ...], typed: tuple[str, ...], asked: Mapping[str, Any]
) -> BenchmarkPlan | None:
    """The plan of what was asked; None if there is none. Its steps are to do again where its runs have been removed.

    Raises `CheckpointError` if the file is damaged, or says what no plan of ours says.
    """
    path = get_plan_path(output_dir, asked)
    content = read_record(path, "benchmark", NEW_PLAN_HINT)
    if content is None:
        return None
    wrong = next(find_plan_errors(content, typed, asked), None)
    if wrong is not None:
        raise CheckpointError(f"{path}: {wrong}; {NEW_PLAN_HINT}")
    costs, allotment = content["costs"], content["allotment"]
    study = BenchmarkPlan(
        path=path,
        store_dir=store_dir,
        flags=flags,
        asked=asked,
        methods=tuple(method for method in asked["methods"] if method not in allotment["left_out"]),
        typed=typed,
        fitted=tuple(content["fitted"]),
        shown=tuple(content["shown"]),
        costs=BenchmarkCosts(**{name: costs[name] for name in COST_FIELDS}),
        views=content["views"],
        device=escape_line(content["device"]),
        allotment=BenchmarkSchedule(
            **{name: allotment[name] for name in SCHEDULE_FIELDS}
            | {name: tuple(allotment[name]) for name in ("extras", "left_out")}
        ),
        done=content["done"],
        dropped=tuple(map(escape_line, content["dropped"])),
        failed=tuple(map(escape_line, content["failed"])),
        spent=content["spent"],
    )
    return study if study.folder.is_dir() else replace(study, done={}, dropped=(), failed=(), spent=0.0)


def find_plan_errors(content: Mapping[str, Any], typed: tuple[str, ...], asked: Mapping[str, Any]) -> Iterator[str]:
    """What a stored plan says that no plan of ours says, or not of what is typed now."""
    keys = [word.partition("=")[0].lstrip("+~") for word in typed]
    for word in content["fitted"]:
        fitted = word.partition("=")[0]
        if not FITTED_OVERRIDE.fullmatch(word):
            yield f"fitted: got {word!r}, wanted encoder, image_size, batch_size or probe.knn.k"
        elif any(key == fitted or key.startswith(f"{fitted}.") for key in keys):
            yield f"{word} was chosen by the plan, and {fitted} is typed now"
    shown = content["shown"]
    if len(shown) != len(SHOWN_OVERRIDES) or not all(
        pattern.fullmatch(word) for pattern, word in zip(SHOWN_OVERRIDES, shown, strict=True)
    ):
        yield f"shown: got {shown!r}, wanted encoder and image size"
    costs, allotment = content["costs"], content["allotment"]
    for name in (*costs["extras"], *allotment["extras"]):
        if name not in EXTRA_NAMES or name not in costs["extras"]:
            yield f"extras: got {name!r}, wanted some of {', '.join(EXTRA_NAMES)}, each with its cost"
    if not 1 <= allotment["seeds"] <= max(MAX_SEEDS, asked["seeds"] or 0) or allotment["epochs"] < 1:
        yield f"allotment: got {allotment['seeds']} seeds of {allotment['epochs']} epochs"
    trained = set(costs["epoch"]) & set(asked["methods"]) - set(RANDOM_BASELINES)
    if allotment["left_out"] and not set(allotment["left_out"]) < trained:
        yield f"allotment.left_out: got {allotment['left_out']}, wanted some of the methods that are trained"
    if not allotment["seeds"] <= allotment["random_seeds"] <= max(RANDOM_SEEDS, allotment["seeds"]):
        yield f"allotment.random_seeds: got {allotment['random_seeds']}"
    if costs["round_base"] == 0:
        yield "costs.round_base: got 0, wanted what a seed takes beside its epochs"
    seconds = [*costs["epoch"].values(), *costs["extras"].values(), *content["done"].values()]
    own = ("round_base", "run", "prepare", "report", "start", "random_seed")
    seconds += [costs[name] for name in own]
    seconds += [content["spent"], allotment["seconds"], *content["views"].values()]
    for each in seconds:
        if not (math.isfinite(each) and 0 <= each <= MAX_SECONDS):
            yield f"got {each!r}, wanted seconds from 0 to {MAX_SECONDS:g}"


def write_benchmark_plan(study: BenchmarkPlan) -> None:
    content = {key: value for key, value in asdict(study).items() if key not in CALL_FIELDS}
    write_checked_json(study.path, {"schema": FORMAT_VERSIONS["benchmark"], **content})
