"""Both views in one forward pass, or a pass for each: what BatchNorm sees."""

import torch
from experiments import Arguments, Make, first_norm
from torch import Tensor


def two_views() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 3, 12, 12, generator=generator), 3 + 2 * torch.randn(6, 3, 12, 12, generator=generator)


def test_joint_batch_norm_sees_both_views_together(experiment: Make) -> None:
    run, (first, second) = experiment(), two_views()
    run.method.encode(run.encoder.train(), (first, second), joint=True)
    norm = first_norm(run.encoder)
    together = run.encoder[0](torch.cat((first, second))).transpose(0, 1).flatten(1)
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, 0.1 * together.mean(1))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * together.var(1))


def test_per_view_batch_norm_sees_each_view_alone(experiment: Make) -> None:
    run, (first, second) = experiment(), two_views()
    run.method.encode(run.encoder.train(), (first, second), joint=False)
    norm = first_norm(run.encoder)
    one, two = (run.encoder[0](view).transpose(0, 1).flatten(1) for view in (first, second))
    assert norm.num_batches_tracked == 2
    torch.testing.assert_close(norm.running_mean, 0.09 * one.mean(1) + 0.1 * two.mean(1))
    torch.testing.assert_close(norm.running_var, 0.81 + 0.09 * one.var(1) + 0.1 * two.var(1))


def test_joint_and_per_view_are_the_same_without_batch_norm(experiment: Make, trained_method: Arguments) -> None:
    """In evaluation mode: the halves of the joint pass are the two views, in their order, for every output."""
    run, (first, second) = experiment(arguments=trained_method), two_views()
    run.encoder.eval()
    run.method.prepare(run.encoder)
    run.method.eval()
    joint = run.method.encode(run.encoder, (first, second), joint=True)
    apart = run.method.encode(run.encoder, (first, second), joint=False)
    torch.testing.assert_close(joint, apart)
