"""Each loss against a slow double loop written from its formula, and the properties it must have."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lowres_ssl.methods.losses import (
    barlow_twins,
    byol,
    count_prototypes_in_use,
    dcl,
    dclw,
    dino,
    info_nce,
    instance,
    negative_cosine,
    nt_xent,
    tico,
    tico_covariance,
    vicreg,
)

WEIGHTS = {"invariance": 25.0, "variance": 25.0, "covariance": 1.0}
Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, Loss] = {
    "nt_xent": lambda z1, z2: nt_xent(z1, z2, 0.5),
    "dcl": lambda z1, z2: dcl(z1, z2, 0.1),
    "dclw": lambda z1, z2: dclw(z1, z2, 0.1, 0.5),
    "dclw_released": lambda z1, z2: dclw(z1, z2, 0.1, 0.5, detach_weights=False, symmetric=False),
    "negative_cosine": negative_cosine,
    "byol": byol,
    "info_nce": lambda q, k: info_nce(q, k, 0.2),
    "barlow_twins": lambda z1, z2: barlow_twins(z1, z2, 0.005)["loss"],
    "tico": lambda z1, z2: tico(z1, z2, tico_covariance(z1, torch.zeros(z1.shape[1:] * 2), 0.9), 8.0)["loss"],
    "dino": lambda student, teacher: dino(student, teacher, torch.full(student.shape[1:], 0.1), 0.1, 0.04),
    "vicreg": lambda z1, z2: vicreg(z1, z2, WEIGHTS)["loss"],
    "vicreg_released": lambda z1, z2: vicreg(z1, z2, WEIGHTS, average_variance=False)["loss"],
}


def pair(
    batch: int = 6, features: int = 5, *, seed: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z1 = torch.randn(batch, features, generator=generator, dtype=torch.float64)
    z2 = z1 + 0.7 * torch.randn(batch, features, generator=generator, dtype=torch.float64)
    return z1.to(dtype), z2.to(dtype)


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def slow_nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> float:
    rows = z1.tolist() + z2.tolist()
    total = 0.0
    for i, row in enumerate(rows):
        partner = rows[(i + len(z1)) % len(rows)]
        denominator = sum(math.exp(cosine(row, other) / temperature) for k, other in enumerate(rows) if k != i)
        total -= math.log(math.exp(cosine(row, partner) / temperature) / denominator)
    return total / len(rows)


def slow_dclw(z1: Tensor, z2: Tensor, temperature: float, sigma: float | None, directions: int = 2) -> float:
    """DCLW as it stands in the paper, with an expectation over the batch; DCL where sigma is None."""
    views = [z1.tolist(), z2.tolist()]
    batch = len(z1)
    alike = [cosine(views[0][i], views[1][i]) for i in range(batch)]
    total = 0.0
    for a in range(directions):
        for i in range(batch):
            negatives = 0.0
            for view in views:
                for k in range(batch):
                    if k != i:
                        negatives += math.exp(cosine(views[a][i], view[k]) / temperature)
            weight = 1.0
            if sigma is not None:
                weight = 2 - math.exp(alike[i] / sigma) / (sum(math.exp(s / sigma) for s in alike) / batch)
            total += -weight * alike[i] / temperature + math.log(negatives)
    return total / (directions * batch)


def slow_vicreg_terms(z1: Tensor, z2: Tensor) -> tuple[float, float, float]:
    batch, features = z1.shape
    invariance = variance = covariance = 0.0
    for i in range(batch):
        for j in range(features):
            invariance += (z1[i, j] - z2[i, j]).item() ** 2 / (batch * features)
    for z in (z1.tolist(), z2.tolist()):
        means = [sum(row[j] for row in z) / batch for j in range(features)]
        for a in range(features):
            for b in range(features):
                entry = sum((row[a] - means[a]) * (row[b] - means[b]) for row in z) / (batch - 1)
                if a == b:
                    variance += max(0.0, 1 - math.sqrt(entry + 1e-4)) / features / 2
                else:
                    covariance += entry**2 / features
    return invariance, variance, covariance


def slow_info_nce(queries: Tensor, keys: Tensor, temperature: float) -> float:
    total = 0.0
    for i, query in enumerate(queries.tolist()):
        scores = [math.exp(cosine(query, key) / temperature) for key in keys.tolist()]
        total -= math.log(scores[i] / sum(scores))
    return 2 * temperature * total / len(queries)


def slow_barlow_twins(z1: Tensor, z2: Tensor) -> tuple[float, float]:
    batch, features = z1.shape
    columns = []
    for z in (z1, z2):
        means = [sum(z[:, j].tolist()) / batch for j in range(features)]
        sizes = [math.sqrt(sum((x - means[j]) ** 2 for x in z[:, j].tolist()) / batch + 1e-5) for j in range(features)]
        columns.append([[(x - means[j]) / sizes[j] for x in z[:, j].tolist()] for j in range(features)])
    invariance = redundancy = 0.0
    for i in range(features):
        for j in range(features):
            correlation = sum(a * b for a, b in zip(columns[0][i], columns[1][j], strict=True)) / batch
            invariance += (1 - correlation) ** 2 if i == j else 0.0
            redundancy += 0.0 if i == j else correlation**2
    return invariance, redundancy


def slow_tico(z1: Tensor, z2: Tensor, before: Tensor, decay: float, weight: float) -> tuple[float, float, float]:
    """Equations 5 and 6: half the squared distance, and the quadratic form of the moving average."""
    first, second = ([[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in z.tolist()] for z in (z1, z2))
    batch, features = z1.shape
    covariance = before.tolist()
    for a in range(features):
        for b in range(features):
            own = sum(row[a] * row[b] for row in first) / batch
            covariance[a][b] = decay * covariance[a][b] + (1 - decay) * own
    invariance = contrast = 0.0
    for one, two in zip(first, second, strict=True):
        invariance += sum((x - y) ** 2 for x, y in zip(one, two, strict=True)) / (2 * batch)
        for a in range(features):
            for b in range(features):
                contrast += one[a] * covariance[a][b] * one[b] / batch
    return invariance + weight * contrast, invariance, contrast


def softmax(values: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in values]
    return [power / sum(powers) for power in powers]


def slow_dino(student: Tensor, teacher: Tensor, centre: Tensor, own: float, others: float) -> float:
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        target = softmax([score - c for score, c in zip(t, centre.tolist(), strict=True)], others)
        total -= sum(share * math.log(p) for share, p in zip(target, softmax(s, own), strict=True))
    return total / len(student)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(2, 3), (6, 5), (5, 12)])
def test_newer_losses_equal_the_slow_loops(seed: int, shape: tuple[int, int]) -> None:
    z1, z2 = pair(*shape, seed=seed)
    squares = sum(
        sum((x / math.hypot(*a) - y / math.hypot(*b)) ** 2 for x, y in zip(a, b, strict=True))
        for a, b in zip(z1.tolist(), z2.tolist(), strict=True)
    )
    assert byol(z1, z2).item() == pytest.approx(squares / len(z1))
    assert info_nce(z1, z2, 0.3).item() == pytest.approx(slow_info_nce(z1, z2, 0.3))
    invariance, redundancy = slow_barlow_twins(z1, z2)
    terms = [term.item() for term in barlow_twins(z1, z2, 0.01).values()]
    assert terms == pytest.approx([invariance + 0.01 * redundancy, invariance, redundancy])
    before = torch.rand(shape[1], shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    terms = [term.item() for term in tico(z1, z2, tico_covariance(z1, before, 0.9), 8.0).values()]
    assert terms == pytest.approx(slow_tico(z1, z2, before, 0.9, 8.0))
    centre = before[0]
    assert dino(z1, z2, centre, 0.5, 0.2).item() == pytest.approx(slow_dino(z1, z2, centre, 0.5, 0.2))
    prototypes, numbers = pair(9, shape[1], seed=seed + 9)[0], torch.arange(shape[0]) + 2
    chosen = [
        softmax([cosine(z, w) for w in prototypes.tolist()], 0.2)[n] for z, n in zip(z1.tolist(), numbers, strict=True)
    ]
    wanted = -sum(map(math.log, chosen)) / len(z1)
    assert instance(z1, prototypes, numbers, 0.2).item() == pytest.approx(wanted)


@pytest.mark.parametrize(("scores", "wanted"), [(100 * torch.eye(4), 4.0), (torch.tensor([[9.0, 0, 0, 0]] * 3), 1.0)])
def test_prototypes_in_use_are_counted(scores: Tensor, wanted: float) -> None:
    assert count_prototypes_in_use(scores, torch.zeros(4), 0.1).item() == pytest.approx(wanted)


@pytest.mark.parametrize("name", ["byol", "info_nce", "dino"])
def test_gradient_holds_the_teacher_constant(name: str) -> None:
    student, teacher = (z.requires_grad_() for z in pair())
    constant = teacher.detach().clone()
    assert torch.autograd.gradcheck(lambda z: LOSSES[name](z, constant), (student,))
    LOSSES[name](student, teacher).backward()
    assert teacher.grad is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(2, 3), (6, 5), (5, 12)])
def test_losses_equal_the_slow_loops(seed: int, shape: tuple[int, int]) -> None:
    z1, z2 = pair(*shape, seed=seed)
    assert nt_xent(z1, z2, 0.3).item() == pytest.approx(slow_nt_xent(z1, z2, 0.3))
    assert dcl(z1, z2, 0.3).item() == pytest.approx(slow_dclw(z1, z2, 0.3, None))
    assert dclw(z1, z2, 0.3, 0.5).item() == pytest.approx(slow_dclw(z1, z2, 0.3, 0.5))
    assert dclw(z1, z2, 0.3, 0.5, symmetric=False).item() == pytest.approx(slow_dclw(z1, z2, 0.3, 0.5, directions=1))
    assert negative_cosine(z1, z2).item() == pytest.approx(
        -sum(cosine(a, b) for a, b in zip(z1.tolist(), z2.tolist(), strict=True)) / len(z1)
    )
    terms = slow_vicreg_terms(z1, z2)
    got = vicreg(z1, z2, {"invariance": 25, "variance": 10, "covariance": 2})
    wanted = [25 * terms[0] + 10 * terms[1] + 2 * terms[2], *terms]
    assert [term.item() for term in got.values()] == pytest.approx(wanted)


def test_gradient_of_dclw_holds_the_weights_constant() -> None:
    z1, z2 = (z.requires_grad_() for z in pair())
    alike = torch.cosine_similarity(z1, z2).detach()
    weights = 2 - len(z1) * torch.softmax(alike / 0.5, dim=0)

    def with_constant_weights(a: Tensor, b: Tensor) -> Tensor:
        return dcl(a, b, 0.1) + ((1 - weights) * torch.cosine_similarity(a, b) / 0.1).mean()

    assert torch.autograd.gradcheck(with_constant_weights, (z1, z2))
    wanted = torch.autograd.grad(with_constant_weights(z1, z2), (z1, z2))
    torch.testing.assert_close(torch.autograd.grad(dclw(z1, z2, 0.1, 0.5), (z1, z2)), wanted)
    undetached = torch.autograd.grad(dclw(z1, z2, 0.1, 0.5, detach_weights=False), (z1, z2))
    assert not torch.allclose(undetached[0], wanted[0])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_inputs_are_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    z1, z2 = pair(dtype=dtype)
    got = LOSSES[name](z1, z2)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, LOSSES[name](z1.float(), z2.float()), rtol=0, atol=0)
    assert LOSSES[name](z1.double(), z2.double()).dtype == torch.float64


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("name", LOSSES)
def test_autocast_changes_nothing(name: str, device: str) -> None:
    z1, z2 = (z.to(device) for z in pair(dtype=torch.float32))
    with torch.autocast(device, dtype=torch.bfloat16 if device == "cpu" else torch.float16):
        got = LOSSES[name](z1, z2)
    torch.testing.assert_close(got, LOSSES[name](z1, z2), rtol=0, atol=0)
    torch.testing.assert_close(got.cpu(), LOSSES[name](z1.cpu(), z2.cpu()), rtol=1e-4, atol=1e-5)


OPPOSITE = tuple(torch.cat((z, -z)) for z in pair(dtype=torch.float32))
EXTREMES = {
    "nt_xent": (lambda a, b: nt_xent(a, b, 0.01), OPPOSITE, [1e-6, 1.0, 1e15]),
    "dcl": (lambda a, b: dcl(a, b, 0.01), OPPOSITE, [1e-6, 1.0, 1e15]),
    "dclw": (LOSSES["dclw"], OPPOSITE, [1e-6, 1.0, 1e15]),
    "vicreg": (LOSSES["vicreg"], pair(4, 64, dtype=torch.float32), [0.0, 1e-6, 1e6]),  # collapsed, and huge
}


@pytest.mark.parametrize(("loss", "views", "sizes"), EXTREMES.values(), ids=EXTREMES)
def test_extremes_stay_finite(loss: Loss, views: tuple[Tensor, Tensor], sizes: list[float]) -> None:
    for size in sizes:
        z1, z2 = (z.mul(size).requires_grad_() for z in views)
        value = loss(z1, z2)
        value.backward()
        assert value.isfinite()
        assert z1.grad is not None
        assert z1.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shapes", [((4, 3), (4, 2)), ((4, 3), (3, 3)), ((4,), (4,)), ((2, 3, 4), (2, 3, 4))])
def test_shapes_that_do_not_match_are_refused(name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="one shape"):
        LOSSES[name](torch.ones(shapes[0]), torch.ones(shapes[1]))
