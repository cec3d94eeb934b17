"""Add up the steps of an epoch to one line of the history, knowing no encoder and no loss."""

import math
import time
from collections import deque
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# As many embeddings as are looked at: enough for both numbers to be steady, few enough to cost nothing.
MONITORED_EMBEDDINGS = 256


def compute_embedding_std(embeddings: Tensor) -> float:
    """Compute the mean standard deviation of the L2-normalised embeddings [n, D], times sqrt(D).

    1 for directions spread evenly over the sphere, 0 for a single one (Chen and He, SimSiam, 2021, section 4.1).
    """
    normalised = F.normalize(embeddings.float(), dim=1)
    return float(normalised.std(dim=0).mean() * embeddings.shape[1] ** 0.5)


def compute_effective_rank(embeddings: Tensor) -> float:
    """Compute exp of the entropy of the centred embeddings' singular values, made to sum to 1; [n, D], from 1 to n - 1.

    Roy and Vetterli, The effective rank, 2007; as in RankMe (Garrido et al., 2023, arXiv 2210.02885), but centred.
    0 if all embeddings are the same.
    """
    # In float32 the mean of equal rows may be another number, and a collapse would pass for one dimension.
    centred = embeddings.double() - embeddings.double().mean(dim=0)
    values = torch.linalg.svdvals(centred.float())
    total = values.sum()
    if total == 0:
        return 0.0
    shares = values / total
    return float(torch.exp(torch.special.entr(shares).sum()))


EpochLog = dict[str, float]


class EpochMeter:
    """Sum over the steps of one epoch, on the device, so that no step waits for a number.

    They are float64 and added up step by step, so that looking at them in between, or going on from a checkpoint,
    changes no digit. `seconds`: of the steps, as of the last `stop`; `compile_seconds`: of what was compiled for them,
    which is no part of these.
    """

    def __init__(self, batch_size: int) -> None:
        self.steps = 0
        self.seconds = 0.0
        self.compile_seconds = 0.0
        self.started = 0.0
        self.sums: dict[str, Tensor] = {}
        # As many of the last embeddings as the monitors look at.
        self.embeddings: deque[Tensor] = deque(maxlen=math.ceil(MONITORED_EMBEDDINGS / batch_size))

    def start(self) -> None:
        """Count the seconds from here on, added to those of a checkpoint."""
        self.started = time.perf_counter() - self.seconds

    def leave_out(self, compile_seconds: float) -> None:
        """Leave out the last seconds, so many, which were not the steps' but a compiler's."""
        self.compile_seconds += compile_seconds
        self.started += compile_seconds

    def stop(self) -> None:
        """Count the seconds up to here. The steps go on nevertheless."""
        self.seconds = time.perf_counter() - self.started

    def add(self, terms: dict[str, Tensor], embeddings: Tensor) -> None:
        """Add one step's loss and its terms (scalars), and the embeddings of its first view [B, D]."""
        for name, value in terms.items():
            value = value.detach().double()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.embeddings.append(embeddings.detach())
        self.steps += 1

    def means(self) -> EpochLog:
        """Compute the mean of each term over the steps so far. Waits for the device."""
        return {name: float(total) / self.steps for name, total in self.sums.items()}

    def line(self, *, epoch: int, views: int, learning_rate: float) -> EpochLog:
        """Build the epoch's line of the history. `views`: how many were made in it."""
        embeddings = torch.cat(list(self.embeddings))[-MONITORED_EMBEDDINGS:].cpu()
        return {
            "epoch": epoch,
            **self.means(),
            "learning_rate": learning_rate,
            "embedding_std": compute_embedding_std(embeddings),
            "effective_rank": compute_effective_rank(embeddings),
            "views_per_second": views / self.seconds,
            "seconds": self.seconds,
            "compile_seconds": self.compile_seconds,
        }

    def state(self) -> dict[str, Any]:
        """List what a checkpoint holds of it."""
        seconds = {"seconds": self.seconds, "compile_seconds": self.compile_seconds}
        return {"steps": self.steps, **seconds, "sums": dict(self.sums), "embeddings": list(self.embeddings)}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from what `state` returned."""
        self.steps, self.seconds, self.compile_seconds = state["steps"], state["seconds"], state["compile_seconds"]
        self.sums = {name: total.to(device) for name, total in state["sums"].items()}
        self.embeddings.extend(embeddings.to(device) for embeddings in state["embeddings"])
