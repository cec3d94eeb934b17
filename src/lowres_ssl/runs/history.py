"""Read from a run's stored history whether it learnt nothing or is collapsing. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lowres_ssl.errors import CheckpointError
from lowres_ssl.runs.records import RunRecord
from lowres_ssl.runs.run import Run, retrain_command

# All measured with ResNet18 at 48 px, recipe tuned: 12 to 20 epochs of the phantom, 6 to 8 of 1,300 chest X-rays and of
# 1,280 blood cells (docs/runs.md has the table).
#
# Loss as a share of chance: 0.99 of DCL on the phantom with the views of `any`, 0.52 with those of `histology`; 0.97 of
# SimCLR with the views of `any`, which begins to learn there.
CHANCE_MARGIN = 0.03
MIN_LOSS_GAIN = 0.1  # of a cosine similarity: at temperatures of several units no loss leaves chance by 3%
# `effective_rank`, mean of the last half of the epochs: 2.7 to 5.0 of SimSiam without predictor, 3.6 of SimSiam at a
# rate of 0.3, which scores below its random start; 15 and more of all that learnt.
MIN_EFFECTIVE_RANK = 6.0
# `embedding_std`: 0.04 of SimSiam with neither predictor nor output BatchNorm, where what is left is noise of many
# directions; 0.25 to 0.44 without the predictor alone. VICReg may be at 0.32 in 225 directions and score well, so that
# a low spread is a sign of collapse only in a few directions, and as long as it falls.
MIN_EMBEDDING_STD = 0.12
FALLING_STD = 0.5
FALL_RATIO = 0.9  # the mean of the last quarter of the epochs as a share of that of the quarter before
FALLING_RANK = 50.0
# DINO's `prototypes`, the number that its teacher uses, from 1 to all: below this all images have the same one.
MIN_PROTOTYPES = 2.0


@dataclass(frozen=True)
class RunMark:
    """Name what a run shows. `word`: the word for such a run, as in "finished, learnt nothing"; `meaning`: when."""

    word: str
    meaning: str


RUN_MARKS = {
    "learnt_nothing": RunMark(
        "learnt nothing",
        f"its loss is within {CHANCE_MARGIN:.0%} of the loss when all images look alike to the encoder",
    ),
    "collapsed": RunMark(
        "collapsing",
        "its embeddings gather in few directions: effective rank below "
        f"{MIN_EFFECTIVE_RANK:g} over the last half of its epochs, "
        f"embedding_std below {MIN_EMBEDDING_STD}, or below {FALLING_STD} and falling at a rank below "
        f"{FALLING_RANK:g}; or a teacher with fewer than {MIN_PROTOTYPES:g} prototypes in use",
    ),
}
NO_MARKS = dict.fromkeys(RUN_MARKS, False)


def find_run_marks(run: Run, record: RunRecord) -> dict[str, bool]:
    """Find which of `RUN_MARKS` a run has, judged up to the epoch that its encoder is from.

    None for what is not trained, and for what is trained on labels: images of a class are meant to come together.
    Raises `CheckpointError` if the history cannot be read, is gone, or is not as it was written.
    """
    if run.classifier.exists() or not run.has_history(record):
        return dict(NO_MARKS)
    try:
        lines = {int(line["epoch"]): line for line in run.read_history(record)}
        last = (record.outcome and record.outcome.selected_epoch) or max(lines)
        return judge_history([lines[epoch] for epoch in sorted(lines) if epoch <= last], record)
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"{run.history}: cannot be read ({error!r}); {retrain_command(record)}") from error


def judge_history(lines: Sequence[Mapping[str, float]], record: RunRecord) -> dict[str, bool]:
    """Judge a run by its history. `lines`: of it, an epoch each, at least one. Raises `KeyError` for one that lacks a
    monitor."""
    chance = None if record.outcome is None else record.outcome.chance_loss
    last_half = lines[-max(2, len(lines) // 2) :]  # of two or three epochs the last two
    spreads, rank = [line["embedding_std"] for line in last_half], fmean(line["effective_rank"] for line in last_half)
    collapsed = spreads[-1] < MIN_EMBEDDING_STD or rank < MIN_EFFECTIVE_RANK
    prototypes = [line["prototypes"] for line in last_half if "prototypes" in line]
    collapsed = collapsed or (bool(prototypes) and fmean(prototypes) < MIN_PROTOTYPES)
    learnt_nothing = False
    if chance is not None:
        temperature = record.config.method.get("temperature", 0.0)
        learnt_nothing = is_near_chance(lines[-1]["loss"], chance, temperature)
    elif record.outcome is not None:  # a contrastive method has a chance loss, and its spread dips
        collapsed = collapsed or (spreads[-1] < FALLING_STD and is_falling(spreads) and rank < FALLING_RANK)
    return {"learnt_nothing": learnt_nothing, "collapsed": collapsed}


def is_falling(values: Sequence[float]) -> bool:
    """Whether the mean of the second half is below that of the first by a tenth or more."""
    half = len(values) // 2
    return half > 0 and fmean(values[-half:]) <= FALL_RATIO * fmean(values[:half])


def is_near_chance(loss: float, chance: float, temperature: float) -> bool:
    """Whether a loss is at chance, or worse."""
    margin = CHANCE_MARGIN * chance
    if temperature > 0:  # a positive pair that is more alike than the negatives by 1 gains 1 / temperature at most
        margin = min(margin, MIN_LOSS_GAIN / temperature)
    return loss > chance - margin
