"""The steps of a benchmark: which command each is, how long it is to take. Words and numbers; nothing is run here."""

from collections.abc import Sequence
from dataclasses import dataclass

from lowres_ssl.benchmark.plan import RANDOM_STEP_NAME, BenchmarkPlan, format_seed_step
from lowres_ssl.config.experiment_schema import RANDOM_BASELINES
from lowres_ssl.config.overrides import quote_value

LABELS_EXTRA, LINEAR_EXTRA = "labels", "linear"
EXTRA_TITLES = {LABELS_EXTRA: "fewer labels", LINEAR_EXTRA: "linear (MLP) probe"}
PROBE_TABLES = {"knn": "paper2", "linear": "paper3", "logistic": "logistic"}


@dataclass(frozen=True)
class BenchmarkStep:
    """One command. `seed`: the place of the seed it trains, None for an extra, which comes after all seeds."""

    name: str
    words: tuple[str, ...]
    seconds: float
    seed: int | None = None


def plan_training_steps(study: BenchmarkPlan) -> list[BenchmarkStep]:
    """A sweep a seed: all methods of it, or none."""
    seconds = study.own_costs.round(study.allotment.epochs)
    return [
        BenchmarkStep(format_seed_step(seed), build_training_command(study, study.methods, str(seed)), seconds, seed)
        for seed in range(study.allotment.seeds)
    ]


def build_training_command(study: BenchmarkPlan, methods: Sequence[str], seeds: str) -> tuple[str, ...]:
    """The words of `lowres-ssl` that train and score the methods, as a sweep if they are several."""
    sweep = ["-m"] if len(methods) > 1 or "," in seeds else []
    epochs = f"epochs={study.allotment.epochs}"
    own = [f"method={','.join(methods)}", f"seed={seeds}", epochs, *study.words, "picture=false"]
    return ("pretrain", *study.flags, *sweep, *own, *build_path_overrides(study))


def plan_random_steps(study: BenchmarkPlan) -> list[BenchmarkStep]:
    """One sweep over the further seeds of the random encoders, if there was time for any in the plan."""
    done = study.seeds_done()
    further = [seed for seed in range(study.allotment.random_seeds) if seed not in done]
    if study.allotment.random_seeds == study.allotment.seeds:
        return []
    starts = [method for method in study.methods if method in RANDOM_BASELINES]
    words = build_training_command(study, starts, ",".join(map(str, further)))
    return [BenchmarkStep(RANDOM_STEP_NAME, words, study.costs.compute_random_seconds(len(further)))]


def plan_extra_steps(study: BenchmarkPlan, probes: Sequence[str], fractions: Sequence[float]) -> list[BenchmarkStep]:
    """What is scored of the seeds that are done, where there was time for it in the plan."""
    seeds = study.seeds_done()
    typed = ",".join(map(str, seeds))
    # A supervised encoder has seen all labels: with fewer it is another training.
    unsupervised = [method for method in study.methods if method != "supervised"]
    words = {
        LABELS_EXTRA: (unsupervised, f"label_fraction={format_override_list(fractions)}"),
        LINEAR_EXTRA: (study.methods, f"probe={format_override_list([*probes, 'linear'])}"),
    }
    return [
        BenchmarkStep(
            name,
            replace_override(build_training_command(study, methods, typed), last),
            study.costs.extras[name] * len(seeds),
        )
        for name, (methods, last) in words.items()
        if name in study.allotment.extras
    ]


def replace_override(words: Sequence[str], word: str) -> tuple[str, ...]:
    """With this word instead of one that sets the same key."""
    key = word.partition("=")[0]
    return (*(each for each in words if each.partition("=")[0] != key), word)


def plan_final_steps(study: BenchmarkPlan, probes: Sequence[str]) -> list[BenchmarkStep]:
    """Tables, comparison and report of the seeds that are done, from stored results."""
    seeds = (
        f"seed={format_override_list(study.seeds_done())}",
        f"untrained_seed={format_override_list(study.random_seeds_done())}",
    )
    which = (*study.shown, f"epochs={study.allotment.epochs}", *seeds)
    tables = format_override_list([PROBE_TABLES[probe] for probe in probes if probe in PROBE_TABLES])
    figures = format_override_list(["labels"] if LABELS_EXTRA in study.done else [])
    file, preface = f"file={quote_path(study.report)}", f"preface={quote_path(study.file('answer.txt'))}"
    third = study.costs.report / 3
    return [
        BenchmarkStep(
            "tables", ("tables", f"table={tables}", *which, *build_path_overrides(study, stores=False)), third
        ),
        BenchmarkStep("comparison", ("compare", *which, *build_path_overrides(study, stores=False)), third),
        BenchmarkStep(
            "report",
            ("report", f"table={tables}", f"figure={figures}", *which, file, preface, *build_path_overrides(study)),
            third,
        ),
    ]


def build_path_overrides(study: BenchmarkPlan, *, stores: bool = True) -> list[str]:
    """Where the runs are, and the decoded images, which all benchmarks share."""
    where = [f"output_dir={quote_path(study.folder)}"]
    return [*where, f"store_dir={quote_path(study.store_dir)}"] if stores else where


def quote_path(path: object) -> str:
    """A path as Hydra's grammar takes it."""
    text = str(path)
    return (
        text
        if all(letter.isascii() and (letter.isalnum() or letter in "/._-") for letter in text)
        else quote_value(text)
    )


def format_override_list(values: Sequence[object]) -> str:
    return f"[{','.join(map(str, values))}]"
