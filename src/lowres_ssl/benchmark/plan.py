"""Store a benchmark's plan, so that the same command continues it, and write its steps as commands.

`outputs/benchmark/<dataset>-<hash8>.json` is the plan of what was asked, the budget included. The folder
`outputs/benchmark/<dataset>-<hash8>/` has the runs of all plans that differ in budget, methods, epochs and seeds only,
so that a larger budget finds the first rungs of a smaller one. Imports no torch.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

from lowres_ssl.benchmark.schedule import START_WORD, NextRun, Race, get_start
from lowres_ssl.config.experiment_schema import RANDOM_BASELINES, RANDOM_SEEDS, BenchmarkConfig
from lowres_ssl.io.checksummed_json import hash_content, read_record, write_record

NEW_PLAN_HINT = "type the same command with force=true for a new plan; the runs stay"
RANDOM_STEP, MORE_RANDOM_STEP = "random encoders", "more random seeds"
FIRST_RANDOM_SEEDS = 3  # a comparison needs them; the others follow when there is time
SHORTCUT_BASELINE = "trivial"
MIN_REPORT_SECONDS = 20.0
TRAINING_SHARE = 0.5  # of the size of a pre-trained encoder: views of half the side cost a quarter
PROBE_TABLES = {"knn": "paper2", "linear": "paper3"}  # of others: other_probes


@dataclass(frozen=True)
class PlanQuestion:
    """Everything that a plan depends on.

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
    continued: tuple[str, ...]
    pretrained: tuple[str, ...]
    seeds: int | None
    epochs: int | None
    chosen_by: str

    @property
    def digest(self) -> str:
        return hash_content(asdict(self))[:8]

    @property
    def runs_digest(self) -> str:
        """The same for all questions whose runs may share a folder."""
        files = [each for each in self.pretrained if "@" in each]
        return hash_content([self.images, self.device, self.precision, self.settings, self.typed, *files])[:8]


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
class Request:
    """What was typed. flags: Hydra's, such as --config-dir; words: of every training; typed: all keys; budget: seconds;
    epochs: None if they are to be chosen."""

    config: BenchmarkConfig
    flags: tuple[str, ...]
    words: tuple[str, ...]
    typed: frozenset[str]
    budget: float
    epochs: int | None

    @property
    def typed_settings(self) -> tuple[str, ...]:
        """The keys of `PlanSettings` that were typed; any key of the backbone's section makes it typed."""
        keys = self.typed | {"backbone" for key in self.typed if key.startswith("backbone.")}
        return tuple(key for key in ("backbone", "image_size", "batch_size", "probe.knn.k") if key in keys)

    def plan_path(self, asked: PlanQuestion) -> Path:
        return Path(self.config.output_dir) / "benchmark" / f"{asked.dataset}-{asked.digest}.json"

    def folder(self, asked: PlanQuestion) -> Path:
        """The `output_dir` of its runs."""
        return Path(self.config.output_dir) / "benchmark" / f"{asked.dataset}-{asked.runs_digest}"

    def file(self, asked: PlanQuestion, what: str) -> Path:
        """A file of this plan in that folder: "report.html", "answer.txt" or "log.txt", the commands' output."""
        stem, _, ending = what.partition(".")
        return self.folder(asked) / f"{stem}-{asked.digest}.{ending}"


@dataclass(frozen=True)
class PretrainedEncoder:
    """A backbone of torchvision (its ImageNet weights) or a model of timm. file: its weights; None: fetched by name.

    image_size: what it is scored at, its own.
    """

    model: str
    of_timm: bool
    file: str | None
    image_size: int

    @property
    def name(self) -> str:
        """What the answer calls it."""
        return self.model if self.of_timm else f"imagenet {self.model}"

    @property
    def entry(self) -> str:
        """What tables call it, frozen."""
        return f"pretrained {self.model}" if self.of_timm else "imagenet"

    @property
    def backbone(self) -> str:
        """The title of its architecture."""
        return self.model.split(".")[0]

    def list_frozen_words(self) -> list[str]:
        """The words of `pretrain` that score it as it is."""
        chosen = ["method=pretrained", f"method.model={self.model}"]
        if not self.of_timm:
            chosen = ["method=imagenet", f"backbone={self.model}"]
        named = [f"method.weights={self.file}"] if self.file else []
        return [*chosen, *named, f"image_size={self.image_size}", "seed=0", "baselines=false"]

    @property
    def training_size(self) -> int:
        """The image size of a training that starts from it; scored at its own size, a crop shows things as large."""
        return round(TRAINING_SHARE * self.image_size)

    def list_start_words(self) -> list[str]:
        """The words that start a training from it."""
        chosen = ["backbone=timm", f"backbone.model={self.backbone}"] if self.of_timm else [f"backbone={self.model}"]
        start = self.file or (self.model if self.of_timm else "imagenet")
        sizes = [f"image_size={self.training_size}", f"scored_size={self.image_size}"]
        return [*chosen, f"initial_weights={start}", *sizes, "baselines=false"]


@dataclass(frozen=True)
class BenchmarkPlan:
    """What was asked, and how far it is.

    smaller: the settings to take where these need more memory than there is. pretrained: the pre-trained encoders.
    done: seconds by step; failed: a line each; missing: pre-trained encoders that could not be had, by name. spent:
    seconds of the budget that are used up. finished: whether nothing is left to do.
    """

    VERSION: ClassVar[int] = 7

    asked: PlanQuestion
    settings: PlanSettings
    smaller: PlanSettings | None
    pretrained: tuple[PretrainedEncoder, ...]
    race: Race
    done: Mapping[str, float] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    spent: float = 0.0
    finished: bool = False

    @property
    def report_seconds(self) -> float:
        """What tables, comparison and report will take: a little more than starting and scoring a run took."""
        bases = [each.seconds - each.training for each in self.race.runs if each.score is not None]
        return max(MIN_REPORT_SECONDS, 1.5 * min(bases, default=0.0))

    def has_same_encoders(self, other: "BenchmarkPlan") -> bool:
        """Whether the pre-trained encoders are those of a plan made now, and none that was missing is there now."""
        named = [each.name for each in self.pretrained] == [each.name for each in other.pretrained]
        return named and not any(each.file and each.name in self.missing for each in other.pretrained)

    def find_encoder(self, name: str) -> PretrainedEncoder:
        return next(each for each in self.pretrained if each.name == name)

    def get_architecture(self, candidate: str) -> tuple[str, int]:
        """The title of a candidate's backbone, and the image size of its training."""
        if start := get_start(candidate):
            encoder = self.find_encoder(start)
            return encoder.backbone, encoder.training_size
        return self.settings.backbone, self.settings.image_size

    def restart(self) -> Self:
        """The plan with nothing done yet."""
        race = replace(self.race, candidates=self.asked.methods, rungs=(), runs=())
        return replace(self, race=race, done={}, failed=(), missing=(), finished=False)


def read_benchmark_plan(request: Request, asked: PlanQuestion) -> BenchmarkPlan | None:
    """Read the plan of what was asked; None if there is none. Where its runs have been removed, it begins anew.

    Raises `CheckpointError` if the file is damaged.
    """
    plan = read_record(request.plan_path(asked), BenchmarkPlan, NEW_PLAN_HINT)
    if plan is None:
        return None
    return plan if request.folder(asked).is_dir() else replace(plan.restart(), spent=0.0)


def write_benchmark_plan(request: Request, plan: BenchmarkPlan) -> None:
    write_record(request.plan_path(plan.asked), plan)


@dataclass(frozen=True)
class BenchmarkStep:
    """One command. `name`: what it is stored and shown as."""

    name: str
    words: tuple[str, ...]


def build_pretrain_command(plan: BenchmarkPlan, request: Request, *others: str, sweep: bool = False) -> tuple[str, ...]:
    """The words of `lowres-ssl` that train or score encoders. `others` replace words that set the same key; a backbone
    among them replaces all that was typed of one, a size all that was typed of sizes."""
    keys = {each.partition("=")[0] for each in others}
    keys |= {"scored_size"} if "image_size" in keys else set()
    own = [*request.words, *plan.settings.format_overrides(plan.asked.typed)]
    own = [each for each in own if (key := each.partition("=")[0]) not in keys and key.partition(".")[0] not in keys]
    places = [f"output_dir={request.folder(plan.asked)}", f"store_dir={request.config.store_dir}"]
    return ("pretrain", *request.flags, *(["-m"] if sweep else []), *others, *own, "picture=false", *places)


def plan_frozen_steps(plan: BenchmarkPlan, request: Request) -> list[BenchmarkStep]:
    """Plan what is scored without training: random encoders and mean colour, then the pre-trained encoders."""
    seeds = ",".join(map(str, range(FIRST_RANDOM_SEEDS)))
    # The calibrated random encoder stands beside the plain one by itself, where there is BatchNorm.
    words = build_pretrain_command(plan, request, "method=random,trivial", f"seed={seeds}", sweep=True)
    steps = [BenchmarkStep(RANDOM_STEP, words)]
    for each in plan.pretrained:
        words = build_pretrain_command(plan, request, *each.list_frozen_words())
        steps.append(BenchmarkStep(each.name, words))
    return steps


def plan_run(plan: BenchmarkPlan, request: Request, run: NextRun) -> BenchmarkStep:
    """Plan the training of one candidate."""
    method, start = run.name.partition(START_WORD)[0], get_start(run.name)
    words = [f"method={method}", f"seed={run.seed}", f"epochs={run.epochs}"]
    if start:
        words += plan.find_encoder(start).list_start_words()
    words += ["pretrain_on=half"] if run.half else []
    views = f"{plan.race.count_views(run.epochs):,} views"
    if run.half:
        views = f"half of the images, {run.epochs * plan.race.half_epoch_views:,} views"
    return BenchmarkStep(f"{run.name}, seed {run.seed}, {views}", build_pretrain_command(plan, request, *words))


def plan_more_random(plan: BenchmarkPlan, request: Request, left: float) -> BenchmarkStep | None:
    """Plan further seeds of the random encoders, as many as fit."""
    each = plan.done.get(RANDOM_STEP, math.inf) / FIRST_RANDOM_SEEDS
    last = min(RANDOM_SEEDS, FIRST_RANDOM_SEEDS + math.floor(left / each))
    if last <= FIRST_RANDOM_SEEDS:
        return None
    seeds = ",".join(map(str, range(FIRST_RANDOM_SEEDS, last)))
    words = build_pretrain_command(plan, request, "method=random", f"seed={seeds}", sweep=last > FIRST_RANDOM_SEEDS + 1)
    return BenchmarkStep(MORE_RANDOM_STEP, words)


def plan_final_steps(plan: BenchmarkPlan, request: Request) -> list[BenchmarkStep]:
    """Plan tables, comparison and report of the finalist's architecture and length, from stored results."""
    race, shown = plan.race, [f"seed={format_list(plan.race.finalist_seeds or [0])}"]
    backbone, size = plan.get_architecture(race.finalist or "")
    shown += [f"backbone={backbone}", f"image_size={size}", f"untrained_seed={format_list(range(RANDOM_SEEDS))}"]
    if race.last_rung is not None:
        shown.append(f"epochs={race.last_rung.epochs}")
    else:  # a run that only timed an epoch is no result
        shown.append(f"entry={format_list([*RANDOM_BASELINES, SHORTCUT_BASELINE])}")
    names = dict.fromkeys(PROBE_TABLES.get(probe, "other_probes") for probe in request.config.probe)
    tables = f"table={format_list(names)}"
    files = {"file": request.file(plan.asked, "report.html"), "preface": request.file(plan.asked, "answer.txt")}
    place = f"output_dir={request.folder(plan.asked)}"
    report = [tables, "figure=[]", *shown, *(f"{key}={path}" for key, path in files.items()), place]
    return [
        BenchmarkStep("tables", ("tables", tables, *shown, place)),
        BenchmarkStep("comparison", ("compare", *shown, place)),
        BenchmarkStep("report", ("report", *report, f"store_dir={request.config.store_dir}")),
    ]


def format_list(values: Iterable[object]) -> str:
    return f"[{','.join(map(str, values))}]"
