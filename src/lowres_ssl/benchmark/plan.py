"""Store a benchmark's plan, so that the same command goes on with it, and write its steps as commands.

`outputs/benchmark/<dataset>-<hash8>.json` is the plan of what was asked, the budget included. The folder
`outputs/benchmark/<dataset>-<hash8>/` has the runs of all plans that differ in budget, methods, epochs and seeds only,
so that a larger budget with the same epochs finds the runs of a smaller one. Imports no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

from lowres_ssl.benchmark.schedule import BenchmarkCosts, BenchmarkSchedule
from lowres_ssl.config.experiment_schema import RANDOM_BASELINES
from lowres_ssl.io.checksummed_json import hash_content, read_record, write_record

NEW_PLAN_HINT = "type the same command with force=true for a new plan; the runs stay"
RANDOM_STEP_NAME = "random seeds"  # more seeds of the random encoders
LABELS_EXTRA, LINEAR_EXTRA = "labels", "linear"
PROBE_TABLES = {"knn": "paper2", "linear": "paper3"}  # of others: other_probes


@dataclass(frozen=True)
class PlanQuestion:
    """Everything that a plan depends on but for what is measured.

    images: digest of the catalogue; settings: digest of a training's config; typed: the keys of `PlanSettings` that
    were typed.
    """

    dataset: str
    images: str
    device: str
    precision: str
    settings: str
    typed: tuple[str, ...]
    budget: float
    methods: tuple[str, ...]
    seeds: int | None
    epochs: int | None
    fewer_labels: tuple[float, ...]
    chosen_by: str

    @property
    def digest(self) -> str:
        return hash_content(asdict(self))[:8]

    @property
    def runs_digest(self) -> str:
        """The same for all questions whose runs may share a folder."""
        return hash_content([self.images, self.device, self.precision, self.settings, self.typed])[:8]


@dataclass(frozen=True)
class PlanSettings:
    """Encoder, image size, batch size and neighbours (None without KNN) of every training, typed or chosen to fit."""

    backbone: str
    image_size: int
    batch_size: int
    k: int | None

    def format_overrides(self, typed: Sequence[str]) -> tuple[str, ...]:
        """Those that were not typed, as they are typed."""
        keys = {"backbone": self.backbone, "image_size": self.image_size, "batch_size": self.batch_size}
        values = keys | {"probe.knn.k": self.k}
        return tuple(f"{key}={value}" for key, value in values.items() if key not in typed and value is not None)


@dataclass(frozen=True)
class BenchmarkCall:
    """What this call adds to a plan. flags: Hydra's, such as --config-dir; words: typed for every training."""

    output_dir: Path
    store_dir: Path
    flags: tuple[str, ...]
    words: tuple[str, ...]

    def plan_path(self, asked: PlanQuestion) -> Path:
        return self.output_dir / "benchmark" / f"{asked.dataset}-{asked.digest}.json"

    def folder(self, asked: PlanQuestion) -> Path:
        """The `output_dir` of its runs."""
        return self.output_dir / "benchmark" / f"{asked.dataset}-{asked.runs_digest}"

    def file(self, asked: PlanQuestion, what: str) -> Path:
        """A file of this plan in that folder: "report.html", "answer.txt" or "log.txt", the commands' output."""
        stem, _, ending = what.partition(".")
        return self.folder(asked) / f"{stem}-{asked.digest}.{ending}"


@dataclass(frozen=True)
class BenchmarkPlan:
    """What is to be run, and how far it is.

    done: seconds by step. dropped: steps left out for want of time; failed: a line each.
    spent: seconds of the budget that are used up.
    """

    VERSION: ClassVar[int] = 5

    asked: PlanQuestion
    settings: PlanSettings
    costs: BenchmarkCosts
    schedule: BenchmarkSchedule
    done: Mapping[str, float] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    spent: float = 0.0

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(method for method in self.asked.methods if method not in self.schedule.left_out)

    @property
    def own_costs(self) -> BenchmarkCosts:
        """Of the methods that are run."""
        return self.costs.drop_methods(self.schedule.left_out)

    @property
    def seeds_done(self) -> list[int]:
        """The seeds that every method has been run with, or has failed with."""
        return [seed for seed in range(self.schedule.seeds) if format_seed_step(seed) in self.done]

    @property
    def random_seeds_done(self) -> list[int]:
        return list(range(self.schedule.random_seeds)) if RANDOM_STEP_NAME in self.done else self.seeds_done

    def after(self, step: str, seconds: float, failed: tuple[str, ...] = ()) -> Self:
        """The plan once the step is done, or was begun in vain."""
        return replace(self, done={**self.done, step: seconds}, failed=(*self.failed, *failed))


def read_benchmark_plan(call: BenchmarkCall, asked: PlanQuestion) -> BenchmarkPlan | None:
    """Read the plan of what was asked; None if there is none. Where its runs have been removed, it begins anew.

    Raises `CheckpointError` if the file is damaged.
    """
    plan = read_record(call.plan_path(asked), BenchmarkPlan, NEW_PLAN_HINT)
    if plan is None:
        return None
    return plan if call.folder(asked).is_dir() else replace(plan, done={}, dropped=(), failed=(), spent=0.0)


def write_benchmark_plan(call: BenchmarkCall, plan: BenchmarkPlan) -> None:
    write_record(call.plan_path(plan.asked), plan)


@dataclass(frozen=True)
class BenchmarkStep:
    """One command and its planned seconds. `seed`: of its training; None for a step that follows all seeds."""

    name: str
    words: tuple[str, ...]
    seconds: float
    seed: int | None = None


def format_seed_step(seed: int) -> str:
    return f"seed {seed}"


def plan_training_steps(plan: BenchmarkPlan, call: BenchmarkCall) -> list[BenchmarkStep]:
    """Plan a sweep a seed: all methods of it, or none."""
    seconds = plan.own_costs.round(plan.schedule.epochs)
    return [
        BenchmarkStep(
            format_seed_step(seed), build_training_command(plan, call, plan.methods, str(seed)), seconds, seed
        )
        for seed in range(plan.schedule.seeds)
    ]


def build_training_command(
    plan: BenchmarkPlan, call: BenchmarkCall, methods: Sequence[str], seeds: str, *others: str
) -> tuple[str, ...]:
    """The words of `lowres-ssl` that train and score the methods, as a sweep if they are several. `others` replace
    words that set the same key."""
    sweep = ["-m"] if len(methods) > 1 or "," in seeds else []
    keys = {each.partition("=")[0] for each in others}
    own = [each for each in call.words if each.partition("=")[0] not in keys]
    own += [*plan.settings.format_overrides(plan.asked.typed), *others, "picture=false"]
    runs = [f"method={','.join(methods)}", f"seed={seeds}", f"epochs={plan.schedule.epochs}"]
    places = [f"output_dir={call.folder(plan.asked)}", f"store_dir={call.store_dir}"]
    return ("pretrain", *call.flags, *sweep, *runs, *own, *places)


def plan_extra_steps(plan: BenchmarkPlan, call: BenchmarkCall, probes: Sequence[str]) -> list[BenchmarkStep]:
    """Plan what follows the seeds that are done, where the schedule has it: more seeds of the random encoders, scores
    with fewer labels and by the MLP probe."""
    schedule, seeds, steps = plan.schedule, plan.seeds_done, []
    if schedule.random_seeds > schedule.seeds:
        further = [seed for seed in range(schedule.random_seeds) if seed not in seeds]
        random = [method for method in plan.methods if method in RANDOM_BASELINES]
        words = build_training_command(plan, call, random, ",".join(map(str, further)))
        steps.append(BenchmarkStep(RANDOM_STEP_NAME, words, plan.costs.compute_random_seconds(len(further))))
    # A supervised encoder has seen all labels: with fewer it is another training.
    unsupervised = [method for method in plan.methods if method != "supervised"]
    extras = {
        LABELS_EXTRA: (unsupervised, f"label_fraction={format_list(plan.asked.fewer_labels)}"),
        LINEAR_EXTRA: (plan.methods, f"probe={format_list([*probes, 'linear'])}"),
    }
    for name, (methods, scored) in extras.items():
        if name in schedule.extras:
            words = build_training_command(plan, call, methods, ",".join(map(str, seeds)), scored)
            steps.append(BenchmarkStep(name, words, plan.costs.extras[name] * len(seeds)))
    return steps


def plan_final_steps(plan: BenchmarkPlan, call: BenchmarkCall, probes: Sequence[str]) -> list[BenchmarkStep]:
    """Plan tables, comparison and report of the seeds that are done, from stored results."""
    chosen = [
        f"backbone={plan.settings.backbone}",
        f"image_size={plan.settings.image_size}",
        f"epochs={plan.schedule.epochs}",
        f"seed={format_list(plan.seeds_done)}",
        f"untrained_seed={format_list(plan.random_seeds_done)}",
    ]
    shown = dict.fromkeys(PROBE_TABLES.get(probe, "other_probes") for probe in probes)
    tables = f"table={format_list(list(shown))}"
    figures = f"figure={format_list(['labels'] if LABELS_EXTRA in plan.done else [])}"
    files = {"file": call.file(plan.asked, "report.html"), "preface": call.file(plan.asked, "answer.txt")}
    place = f"output_dir={call.folder(plan.asked)}"
    report = [tables, figures, *chosen, *(f"{key}={path}" for key, path in files.items()), place]
    commands = {
        "tables": ("tables", tables, *chosen, place),
        "comparison": ("compare", *chosen, place),
        "report": ("report", *report, f"store_dir={call.store_dir}"),
    }
    return [BenchmarkStep(name, words, plan.costs.report / len(commands)) for name, words in commands.items()]


def format_list(values: Sequence[object]) -> str:
    return f"[{','.join(map(str, values))}]"
