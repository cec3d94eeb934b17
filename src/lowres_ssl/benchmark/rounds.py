"""The steps of a benchmark: which command each is, how long it is to take. Words and numbers; nothing is run here."""

from collections.abc import Sequence
from dataclasses import dataclass

from lowres_ssl.benchmark.study import RANDOM_STEP, Study, seed_step
from lowres_ssl.command_line.overrides import quoted
from lowres_ssl.schemas.experiment import RANDOM_STARTS

LABELS, LINEAR = "labels", "linear"
ABOUT = {LABELS: "fewer labels", LINEAR: "linear (MLP) probe"}
TABLES = {"knn": "paper2", "linear": "paper3", "logistic": "logistic"}


@dataclass(frozen=True)
class Step:
    """One command. `seed`: the place of the seed it trains, None for an extra, which comes after all seeds."""

    name: str
    words: tuple[str, ...]
    seconds: float
    seed: int | None = None


def training_steps(study: Study) -> list[Step]:
    """A sweep a seed: all methods of it, or none."""
    seconds = study.own_costs.round(study.allotment.epochs)
    return [
        Step(seed_step(seed), training(study, study.methods, str(seed)), seconds, seed)
        for seed in range(study.allotment.seeds)
    ]


def training(study: Study, methods: Sequence[str], seeds: str) -> tuple[str, ...]:
    """The words of `lowres-ssl` that train and score the methods, as a sweep if they are several."""
    sweep = ["-m"] if len(methods) > 1 or "," in seeds else []
    epochs = f"epochs={study.allotment.epochs}"
    own = [f"method={','.join(methods)}", f"seed={seeds}", epochs, *study.words, "picture=false"]
    return ("pretrain", *study.flags, *sweep, *own, *place(study))


def random_steps(study: Study) -> list[Step]:
    """One sweep over the further seeds of the random encoders, if there was time for any in the plan."""
    done = study.seeds_done()
    further = [seed for seed in range(study.allotment.random_seeds) if seed not in done]
    if study.allotment.random_seeds == study.allotment.seeds:
        return []
    starts = [method for method in study.methods if method in RANDOM_STARTS]
    words = training(study, starts, ",".join(map(str, further)))
    return [Step(RANDOM_STEP, words, study.costs.further_random(len(further)))]


def extra_steps(study: Study, probes: Sequence[str], fractions: Sequence[float]) -> list[Step]:
    """What is scored of the seeds that are done, where there was time for it in the plan."""
    seeds = study.seeds_done()
    typed = ",".join(map(str, seeds))
    # A supervised encoder has seen all labels: with fewer it is another training.
    unsupervised = [method for method in study.methods if method != "supervised"]
    words = {
        LABELS: (unsupervised, f"label_fraction={listed(fractions)}"),
        LINEAR: (study.methods, f"probe={listed([*probes, 'linear'])}"),
    }
    return [
        Step(name, replaced(training(study, methods, typed), last), study.costs.extras[name] * len(seeds))
        for name, (methods, last) in words.items()
        if name in study.allotment.extras
    ]


def replaced(words: Sequence[str], word: str) -> tuple[str, ...]:
    """With this word instead of one that sets the same key."""
    key = word.partition("=")[0]
    return (*(each for each in words if each.partition("=")[0] != key), word)


def last_steps(study: Study, probes: Sequence[str]) -> list[Step]:
    """Tables, comparison and report of the seeds that are done, from stored results."""
    seeds = f"seed={listed(study.seeds_done())}", f"untrained_seed={listed(study.random_seeds_done())}"
    which = (*study.shown, f"epochs={study.allotment.epochs}", *seeds)
    tables = listed([TABLES[probe] for probe in probes if probe in TABLES])
    figures = listed(["labels"] if LABELS in study.done else [])
    file, preface = f"file={word(study.report)}", f"preface={word(study.file('answer.txt'))}"
    third = study.costs.report / 3
    return [
        Step("tables", ("tables", f"table={tables}", *which, *place(study, stores=False)), third),
        Step("comparison", ("compare", *which, *place(study, stores=False)), third),
        Step("report", ("report", f"table={tables}", f"figure={figures}", *which, file, preface, *place(study)), third),
    ]


def place(study: Study, *, stores: bool = True) -> list[str]:
    """Where the runs are, and the decoded images, which all benchmarks share."""
    where = [f"output_dir={word(study.folder)}"]
    return [*where, f"store_dir={word(study.store_dir)}"] if stores else where


def word(path: object) -> str:
    """A path as Hydra's grammar takes it."""
    text = str(path)
    return text if all(letter.isascii() and (letter.isalnum() or letter in "/._-") for letter in text) else quoted(text)


def listed(values: Sequence[object]) -> str:
    return f"[{','.join(map(str, values))}]"
