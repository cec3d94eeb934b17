"""The losses, as pure functions of two tensors [B, D]: one row an image, the rows of both belonging together.

Each returns a scalar (some their terms as well), computed in float32 at least (float64 stays float64; bfloat16 and
float16 are widened) with autocast off, whatever the caller runs in. No heads, no encoder, no state: those are in the
methods.

All raise `ValueError` if the two are not of one shape [B, D]. B is at least 2 and temperatures are above 0: the methods
check theirs when they are built. Shape legend: B batch, D features.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from lowres_ssl.errors import ConfigError


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy: Chen et al., SimCLR, 2020 (arXiv 2002.05709), equation 1.

    For each of the 2B rows i with partner j: -log(exp(s_ij / t) / sum over k != i of exp(s_ik / t)), s the cosine
    similarity; the mean over the 2B. `z1`, `z2`: [B, D], normalised here.
    """
    with use_full_precision(z1, z2) as (z1, z2):
        batch = len(z1)
        rows = F.normalize(torch.cat((z1, z2)), dim=1)  # [2B, D]
        own = torch.eye(2 * batch, dtype=torch.bool, device=rows.device)
        logits = (rows @ rows.T / temperature).masked_fill(own, -torch.inf)  # [2B, 2B]
        partners = torch.arange(2 * batch, device=rows.device).roll(batch)  # [2B]
        return F.cross_entropy(logits, partners)


def dcl(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Decoupled contrastive loss: Yeh et al., DCL, 2022 (arXiv 2110.06848), equation 6.

    For each row i of a view: -s_i / t + log(sum of exp(s_ik / t) over the rows k != i of both views), s_i the cosine
    similarity of its two views: NT-Xent with the positive left out of the sum. The mean over both directions and B.
    `z1`, `z2`: [B, D], normalised here.
    """
    with use_full_precision(z1, z2) as (z1, z2):
        positives, negatives = decoupled_terms(z1, z2, temperature)
        return (negatives - positives / temperature).mean()


def dclw(
    z1: Tensor,
    z2: Tensor,
    temperature: float,
    sigma: float,
    *,
    detach_weights: bool = True,
    symmetric: bool = True,
) -> Tensor:
    """Decoupled contrastive loss with von Mises-Fisher weights: Yeh et al., DCL, 2022, equations 7 and 8.

    As `dcl`, each positive multiplied by 2 - B softmax(s / sigma), which mean 1 over the batch and are smaller the more
    alike the two views already are. `z1`, `z2`: [B, D], normalised here.

    The weights are constants (detached). The paper's released code departs twice, here by `detach_weights=False` and by
    `symmetric=False`: only the rows of `z1` are compared, with the negatives of both views.
    """
    with use_full_precision(z1, z2) as (z1, z2):
        positives, negatives = decoupled_terms(z1, z2, temperature)
        weights = 2 - len(z1) * torch.softmax(positives / sigma, dim=0)  # [B]
        if detach_weights:
            weights = weights.detach()
        if not symmetric:
            negatives = negatives[0]
        return (negatives - weights * positives / temperature).mean()


def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """Negative cosine similarity: Chen and He, SimSiam, 2021 (arXiv 2011.10566), equation 1; the mean over B.

    `p`: predictions [B, D]. `z`: projections [B, D], detached here: the stop-gradient without which SimSiam collapses.
    Not symmetrised: half the sum over (p1, z2) and (p2, z1) is the method's (equation 4).
    """
    with use_full_precision(p, z) as (p, z):
        return -F.cosine_similarity(p, z.detach(), dim=1).mean()


def byol(p: Tensor, target: Tensor) -> Tensor:
    """Squared distance of normalised vectors: Grill et al., BYOL, 2020 (arXiv 2006.07733), equation 2; mean over B.

    2 - 2 cos(p, target), from 0 to 4. `p`: predictions of one view [B, D]. `target`: the teacher's projections of the
    other [B, D], detached here. Not symmetrised: the sum of both directions is the method's.
    """
    return 2 + 2 * negative_cosine(p, target)


def info_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """InfoNCE with the keys of the batch: Chen, Xie and He, MoCo v3, 2021 (arXiv 2104.02057), algorithm 1 (`ctr`).

    2 t times the mean over i of -log(exp(q_i k_i / t) / sum over j of exp(q_i k_j / t)); the factor 2 t is the paper's.
    `queries`, `keys`: [B, D], normalised here; the keys are detached. Not symmetrised.
    """
    with use_full_precision(queries, keys) as (queries, keys):
        logits = F.normalize(queries, dim=1) @ F.normalize(keys.detach(), dim=1).T / temperature  # [B, B]
        own = torch.arange(len(logits), device=logits.device)
        return 2 * temperature * F.cross_entropy(logits, own)


def barlow_twins(z1: Tensor, z2: Tensor, redundancy: float) -> dict[str, Tensor]:
    """Cross-correlation to the identity: Zbontar et al., Barlow Twins, 2021 (arXiv 2103.03230), equations 1 and 2.

    C = the correlations over the batch between the dimensions of the two views, [D, D]. Returns "loss", "invariance",
    the sum of (1 - C_ii)^2, and "redundancy", the sum of C_ij^2 off the diagonal, which counts `redundancy` times
    (lambda). The variances have 1e-5 added, as the reference code's BatchNorm adds it. `z1`, `z2`: [B, D].
    """
    with use_full_precision(z1, z2) as (z1, z2):
        n1, n2 = (F.batch_norm(z, None, None, training=True) for z in (z1, z2))  # mean 0, variance 1
        correlation = n1.T @ n2 / len(z1)  # [D, D]
        own = correlation.diagonal()
        invariance = (1 - own).square().sum()
        others = correlation.square().sum() - own.square().sum()
        return {"loss": invariance + redundancy * others, "invariance": invariance, "redundancy": others}


def tico(z1: Tensor, z2: Tensor, covariance: Tensor, weight: float) -> dict[str, Tensor]:
    """Invariance and covariance contrast: Zhu et al., TiCo, 2022 (arXiv 2206.10698), equation 6.

    Returns "loss", "invariance", the mean over B of 1 - cos(z1_i, z2_i), which is half their squared distance, and
    "contrast", the mean over B of z1_i^T C z1_i, which counts `weight` times (rho). `covariance`: C [D, D], the moving
    average of `tico_covariance`, without a gradient of its own. `z1`, `z2`: [B, D], normalised here.
    """
    with use_full_precision(z1, z2) as (z1, z2):
        n1, n2 = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
        invariance = 1 - (n1 * n2).sum(dim=1).mean()
        contrast = ((n1 @ covariance.to(n1.dtype)) * n1).sum(dim=1).mean()
        return {"loss": invariance + weight * contrast, "invariance": invariance, "contrast": contrast}


def tico_covariance(z1: Tensor, before: Tensor, decay: float) -> Tensor:
    """Moving average of the second moment of normalised embeddings: TiCo, equation 5. [B, D], [D, D] -> [D, D]."""
    with use_full_precision(z1, z1) as (z1, _):
        n1 = F.normalize(z1.detach(), dim=1)
        return decay * before + (1 - decay) * (n1.T @ n1 / len(n1)).to(before.dtype)


def dino(
    student: Tensor, teacher: Tensor, centre: Tensor, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Cross-entropy of a teacher's and a student's prototypes: Caron et al., DINO, 2021 (arXiv 2104.14294), equation 1.

    The mean over B of -sum over k of softmax((teacher - centre) / t_t)_k log softmax(student / t_s)_k, of one view of
    the student and another of the teacher. `student`, `teacher`: scores of K prototypes [B, K], the teacher's without a
    gradient; `centre`: [K], their moving average.
    """
    with use_full_precision(student, teacher) as (student, teacher):
        shares = torch.softmax((teacher.detach() - centre) / teacher_temperature, dim=1)
        return -(shares * (student / student_temperature).log_softmax(dim=1)).sum(dim=1).mean()


def count_prototypes_in_use(scores: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """Compute exp of the entropy of the mean assignment of a batch to K prototypes, from 1 to K: a scalar. 1 is one
    prototype for all images; K is the same share of each. `scores`: [B, K]; `centre`: [K]."""
    shares = torch.softmax((scores.detach().float() - centre) / temperature, dim=1).mean(dim=0)
    # `torch.special.entr` is compiled when it is first used on a GPU.
    return (-(shares * shares.clamp_min(torch.finfo(shares.dtype).tiny).log()).sum()).exp()


def instance(z: Tensor, prototypes: Tensor, numbers: Tensor, temperature: float) -> Tensor:
    """Classify each image as itself: Cao et al., Parametric Instance Classification, 2020 (2006.14618), equation 2.

    The mean over B of -log(exp(cos(z_i, w_i) / t) / sum over all N images j of exp(cos(z_i, w_j) / t)). `z`: [B, D];
    `prototypes`: a learnt vector for each image [N, D]; both are normalised here. `numbers`: int64 [B], the row of
    `prototypes` that is the image's own.
    """
    with torch.autocast(z.device.type, enabled=False):
        dtype = torch.promote_types(z.dtype, torch.float32)
        logits = F.normalize(z.to(dtype), dim=1) @ F.normalize(prototypes.to(dtype), dim=1).T / temperature
        return F.cross_entropy(logits, numbers)


def vicreg(z1: Tensor, z2: Tensor, weights: Mapping[str, float], *, average_variance: bool = True) -> dict[str, Tensor]:
    """Variance-invariance-covariance regularisation: Bardes et al., VICReg, 2022 (arXiv 2105.04906), equation 6.

    Returns "loss", the sum of the three terms times their `weights` (the paper's: 25, 25 and 1), and the unweighted
    terms, as the reference code has them. "invariance": the squared difference, mean over B and D (equation 5 sums over
    D). "variance": the mean over D of max(0, 1 - sqrt(Var + 1e-4)), unbiased, averaged over the two views (equation 1;
    the weight of 25 in equation 6 is for their sum, but the reference code halves it). "covariance": the squares off
    the diagonal of the covariance matrix over B - 1, summed, over D, summed over the views (equation 4).
    `average_variance=False` sums the variance of the two views, as the released code of the ICIP paper does. `z1`,
    `z2`: [B, D], not normalised.
    """
    with use_full_precision(z1, z2) as (z1, z2):
        batch, dimensions = z1.shape
        views = torch.stack((z1, z2))  # [2, B, D]
        centred = views - views.mean(dim=1, keepdim=True)
        variances = centred.square().sum(dim=1) / (batch - 1)  # [2, D]
        hinges = F.relu(1 - (variances + 1e-4).sqrt()).mean(dim=1)  # [2]
        # X^T X and X X^T have the same sum of squares, and the smaller of them is far cheaper at D = 4096.
        products = centred @ centred.mT if batch < dimensions else centred.mT @ centred  # [2, B, B] or [2, D, D]
        squares = (products / (batch - 1)).square().sum() - variances.square().sum()
        terms = {
            "invariance": F.mse_loss(z1, z2),
            "variance": hinges.mean() if average_variance else hinges.sum(),
            "covariance": squares / dimensions,
        }
        total = sum((weights[name] * term for name, term in terms.items()), start=torch.zeros_like(squares))
    return {"loss": total, **terms}


def decoupled_terms(z1: Tensor, z2: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The cosine similarity of each positive pair [B], and log-sum-exp(s / temperature) over the negatives [2, B]."""
    batch = len(z1)
    rows = F.normalize(torch.cat((z1, z2)), dim=1)  # [2B, D]
    same_image = torch.eye(batch, dtype=torch.bool, device=rows.device).repeat(2, 2)
    logits = (rows @ rows.T / temperature).masked_fill(same_image, -torch.inf)  # [2B, 2B]
    positives = (rows[:batch] * rows[batch:]).sum(dim=1)
    return positives, logits.logsumexp(dim=1).view(2, batch)


@contextmanager
def use_full_precision(z1: Tensor, z2: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The two, checked, in float32 at least, with autocast off for their kind of device."""
    if z1.ndim != 2 or z1.shape != z2.shape:
        raise ValueError(f"wanted two tensors of one shape [B, D], got {list(z1.shape)} and {list(z2.shape)}")
    dtype = torch.promote_types(torch.promote_types(z1.dtype, z2.dtype), torch.float32)
    with torch.autocast(z1.device.type, enabled=False):
        yield z1.to(dtype), z2.to(dtype)


def check_positive(name: str, value: float) -> None:
    """Raise `ConfigError` for a method's setting that is not above 0."""
    if not value > 0:
        raise ConfigError(f"method.{name}={value}: wanted a number above 0; try method.{name}=0.1")


def check_weights(**weights: float) -> None:
    """Raise `ConfigError` for a weight of a loss's term, by its key, that is below 0."""
    for name, value in weights.items():
        if value < 0:
            raise ConfigError(f"method.{name}={value}: wanted a number of at least 0; try method.{name}=1")
