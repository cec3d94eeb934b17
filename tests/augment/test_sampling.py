"""What is drawn for an image: the same whatever the batch, distributed as by torchvision's own samplers."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, ks_1samp, ks_2samp, uniform
from test_augmentation import PAPER
from torchvision.transforms import v2

from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.augment.sampling import AugmentationParameters, hash_image_ids

SETTINGS = PAPER | {"mean": (0.5,), "std": (0.25,), "vertical_flip": 0.25, "right_angles": True}
SETTINGS |= {"rotation_degrees": 15.0, "jitter": 0.8, "contrast": 1.5, "elastic": 0.3, "elastic_strength": 0.1}
SETTINGS |= {"stain": 0.4, "stain_strength": 0.2, "gamma": 0.6}
COUNT = 4000
KEYS = hash_image_ids([f"{number}.png" for number in range(COUNT)])
ALIKE = 1e-3  # the seeds are fixed: a p-value below this is a difference, not bad luck


def parameters(
    height: int = 96, width: int = 96, *, keys: np.ndarray = KEYS, epoch: int = 0, view: int = 0, **changes: object
) -> AugmentationParameters:
    sizes = np.tile(np.array([height, width]), (len(keys), 1))
    return Augmentation(**{**SETTINGS, **changes}).sample(sizes, keys, epoch=epoch, views=[view])


@pytest.mark.parametrize("change", [{"epoch": 1}, {"view": 1}, {"seed": 1}])
def test_another_epoch_view_or_seed_changes_everything(change):
    one, other = parameters(), parameters(**change)
    for field in fields(AugmentationParameters):
        assert (getattr(one, field.name) != getattr(other, field.name)).any(), field.name


# Square, landscape, one that often takes the fallback, and one where nothing ever fits.
@pytest.mark.parametrize(("height", "width"), [(96, 96), (200, 310), (40, 120), (20, 300)])
def test_crop_boxes_are_distributed_as_torchvisions(height, width):
    torch.manual_seed(0)
    sampler = v2.RandomResizedCrop(32)
    image = torch.zeros(1, height, width)
    drawn = [sampler.make_params([image]) for _ in range(1500)]
    ours = parameters(height, width).boxes
    assert (ours[:, 2:] >= 1).all()
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, :2] + ours[:, 2:] <= [height, width]).all()
    for column, name in enumerate(("top", "left", "height", "width")):
        theirs = [params[name] for params in drawn]
        assert ks_2samp(ours[:, column], theirs).pvalue > ALIKE, name
    areas = [params["height"] * params["width"] for params in drawn]
    assert ks_2samp(ours[:, 2] * ours[:, 3], areas).pvalue > ALIKE


@pytest.mark.parametrize(("height", "width"), [(20, 300), (300, 20), (50, 50), (7, 50)])
def test_the_fallback_crop_is_torchvisions(height, width):
    # More than the whole area is asked for, as nearly as the range checks allow: no attempt ever fits.
    ratio = (1.3, 1.31)
    sampler = v2.RandomResizedCrop(32, scale=(1.0, 1.0), ratio=ratio)
    params = sampler.make_params([torch.zeros(1, height, width)])
    ours = parameters(height, width, keys=KEYS[:5], crop_scale=(1.0, 1.0), crop_ratio=ratio).boxes
    expected = [params["top"], params["left"], params["height"], params["width"]]
    np.testing.assert_array_equal(ours, np.tile(expected, (5, 1)))


def test_jitter_factors_and_order_are_distributed_as_torchvisions():
    torch.manual_seed(0)
    strengths = {"brightness": 0.4, "contrast": 1.5, "saturation": 0.2, "hue": 0.1}
    sampler = v2.ColorJitter(**strengths)
    drawn = [sampler.make_params([]) for _ in range(1500)]
    ours = parameters()
    for name in strengths:
        theirs = [params[f"{name}_factor"] for params in drawn]
        assert ks_2samp(getattr(ours, name), theirs).pvalue > ALIKE, name
    codes = ours.order @ np.array([64, 16, 4, 1])
    assert chisquare(np.unique(codes, return_counts=True)[1]).pvalue > ALIKE
    assert len(np.unique(codes)) == 24
    assert (np.sort(ours.order, axis=1) == np.arange(4)).all()


def test_blur_width_and_angle_are_distributed_as_torchvisions():
    torch.manual_seed(0)
    blur, rotation = v2.GaussianBlur(23, sigma=(0.1, 2.0)), v2.RandomRotation(15)
    ours = parameters()
    assert ks_2samp(ours.sigma, [blur.make_params([])["sigma"][0] for _ in range(1500)]).pvalue > ALIKE
    assert ks_2samp(ours.angle, [rotation.make_params([])["angle"] for _ in range(1500)]).pvalue > ALIKE


def test_what_recipes_leave_off_is_distributed_as_its_strength_says():
    ours = parameters()
    assert ks_1samp(ours.displacements.ravel(), uniform(-0.1, 0.2).cdf).pvalue > ALIKE
    assert ks_1samp(ours.stain_factors.ravel(), uniform(0.8, 0.4).cdf).pvalue > ALIKE
    assert ks_1samp(ours.stain_shifts.ravel(), uniform(-0.2, 0.4).cdf).pvalue > ALIKE
    assert ks_1samp(np.log(ours.exponent), uniform(-np.log(1.5), 2 * np.log(1.5)).cdf).pvalue > ALIKE


def test_draws_of_a_view_are_the_same_in_every_version():
    """Else every run would have other views."""
    size, key = np.array([[200, 310]]), hash_image_ids(["train/a/1.png"])
    drawn = Augmentation(**SETTINGS).sample(size, key, epoch=2, views=[1])
    assert drawn.boxes.tolist() == [[33, 44, 113, 115]]
    assert drawn.order.tolist() == [[3, 1, 2, 0]]
    assert drawn.angle.item() == pytest.approx(-7.47670567598739)
    assert drawn.sigma.item() == pytest.approx(1.8021083815662435)
    assert drawn.exponent.item() == pytest.approx(0.6762198660657903)
    assert drawn.stain_shifts[0, 2] == pytest.approx(0.04461193403665836)
    assert drawn.displacements[0, 1, 3, 3] == pytest.approx(-0.019264574309908272)


def test_each_step_happens_with_its_probability():
    ours = parameters()
    for name in ("horizontal_flip", "vertical_flip", "jitter", "grey", "blur", "solarise", "elastic", "stain", "gamma"):
        probability = SETTINGS[name]
        error = np.sqrt(probability * (1 - probability) / COUNT)
        assert abs(getattr(ours, name).mean() - probability) < 4 * error, name
    assert chisquare(np.bincount(ours.quarter_turns, minlength=4)).pvalue > ALIKE


def test_steps_happen_independently_of_one_another():
    ours = parameters()
    names = ("horizontal_flip", "vertical_flip", "jitter", "grey", "blur", "solarise", "brightness", "hue", "sigma")
    names += ("elastic", "displacements", "stain", "stain_factors", "stain_shifts", "gamma", "exponent")
    table = np.concatenate([getattr(ours, name).astype(float).reshape(COUNT, -1).T for name in names])
    correlations = np.corrcoef(table)[np.triu_indices(len(table), 1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(COUNT)
