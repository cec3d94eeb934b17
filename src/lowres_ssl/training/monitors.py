"""Is it collapsing? Two numbers of an epoch's last embeddings, which need no label."""

import torch
from torch import Tensor
from torch.nn import functional as F

# As many embeddings as are looked at: enough for both numbers to be steady, few enough to cost nothing.
WINDOW = 256


def embedding_std(embeddings: Tensor) -> float:
    """The mean standard deviation of the L2-normalised embeddings [n, D], times sqrt(D).

    1 for directions spread evenly over the sphere, 0 for a single one (Chen and He, SimSiam, 2021, section 4.1).
    """
    normalised = F.normalize(embeddings.float(), dim=1)
    return float(normalised.std(dim=0).mean() * embeddings.shape[1] ** 0.5)


def effective_rank(embeddings: Tensor) -> float:
    """exp of the entropy of the singular values of the centred embeddings [n, D], made to sum to 1; from 1 to n - 1.

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
