"""Features of a frozen encoder: it changes in nothing, and an image's features are its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lowres_ssl.augment.augmentation import make_evaluation_view
from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.device import DevicePrecision
from lowres_ssl.errors import TrainingError
from lowres_ssl.evaluate import features
from lowres_ssl.evaluate.features import (
    EXTRACTION_BATCH,
    EvaluationView,
    extract_features,
    iter_shuffled_batches,
    read_stored_features,
    store_features,
)
from lowres_ssl.train.batches import BatchReader

Encoders = Callable[[int], nn.Module]
VIEW = EvaluationView(12, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def features_of(
    encoder: nn.Module, store: ImageStore, rows: list[int] | None = None, precision: str = "fp32", device: str = "cpu"
) -> Tensor:
    compute = DevicePrecision(torch.device(device), precision)
    take = BatchReader(store, compute.device, "host")
    return extract_features(encoder, take, list(range(40)) if rows is None else rows, VIEW, compute)


def view_of(store: ImageStore, rows: list[int]) -> Tensor:
    images = torch.from_numpy(store.images[rows])
    return make_evaluation_view(images, image_size=VIEW.image_size, mean=VIEW.mean, std=VIEW.std)


def trained(encoder: nn.Module) -> nn.Module:
    """With BatchNorm statistics that are not those it starts with."""
    encoder.train()(torch.rand(8, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 3)
    return encoder


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_weight_no_buffer_and_no_mode_changes(
    tiny_encoder: Encoders, tiny_store: ImageStore, precision: str, training: bool
) -> None:
    encoder = trained(tiny_encoder(0)).train(training)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    got = features_of(encoder, tiny_store, precision=precision)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    assert {module.training for module in encoder.modules()} == {training}
    assert (got.shape, got.dtype, got.requires_grad) == ((40, 8), torch.float32, False)
    with pytest.raises(IndexError):
        features_of(encoder, tiny_store, [0, 400])
    assert encoder.training == training


@pytest.mark.parametrize("size", [1, 7, 40])
def test_features_are_the_encoders_output_for_whole_images_in_their_order_whatever_the_batch(
    tiny_encoder: Encoders, tiny_store: ImageStore, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, rows = trained(tiny_encoder(0)).eval(), [30, 2, 2, 17, 0, 39, 5, 11]
    with torch.no_grad():
        expected = encoder(view_of(tiny_store, rows))
    monkeypatch.setattr(features, "EXTRACTION_BATCH", size)
    torch.testing.assert_close(features_of(encoder.train(), tiny_store, rows), expected, rtol=1e-5, atol=1e-6)


def test_bf16_features_are_those_of_fp32_but_for_noise(tiny_encoder: Encoders, tiny_store: ImageStore) -> None:
    """Each row points where it did, far closer than to any other, so that its nearest neighbours are the same."""
    encoder = trained(tiny_encoder(0))
    exact, rounded = (features_of(encoder, tiny_store, precision=precision) for precision in ("fp32", "bf16"))
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.02)
    exact, rounded = (nn.functional.normalize(each, dim=1) for each in (exact, rounded))
    own = (exact * rounded).sum(dim=1)
    others = (exact @ exact.T).fill_diagonal_(-1).max(dim=1).values
    assert (1 - own).max() < 0.1 * (1 - others).min()


def test_features_that_are_not_finite_are_refused(tiny_encoder: Encoders, tiny_store: ImageStore) -> None:
    encoder = tiny_encoder(0)
    nn.init.constant_(encoder[6].weight, torch.inf)
    with pytest.raises(TrainingError, match="NaN or infinite; try precision=fp32"):
        features_of(encoder, tiny_store)


def test_stored_features_come_back_under_their_key(tmp_path: Path) -> None:
    made = {"train": torch.rand(3, 2), "test": torch.rand(1, 2)}
    store_features(tmp_path / "features.safetensors", made, "abc")
    loaded = read_stored_features(tmp_path / "features.safetensors", "abc")
    assert loaded is not None
    assert loaded.keys() == made.keys()
    assert all(torch.equal(loaded[side], made[side]) for side in made)
    assert read_stored_features(tmp_path / "features.safetensors", "abd") is None


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_features_on_a_gpu_are_those_on_the_cpu(tiny_encoder: Encoders, tiny_store: ImageStore, precision: str) -> None:
    encoder = trained(tiny_encoder(0))
    exact = features_of(encoder, tiny_store)
    got = features_of(encoder.cuda(), tiny_store, precision=precision, device="cuda")
    torch.testing.assert_close(got, exact, rtol=0.05, atol=0.02)


def batches(store: ImageStore, rows: list[int], seed: int = 0) -> list[Tensor]:
    return list(iter_shuffled_batches(BatchReader(store, torch.device("cpu"), "host"), rows, VIEW, seed))


def test_shuffled_batches_show_each_row_once_as_features_see_it(tiny_store: ImageStore) -> None:
    rows = list(range(1, 40))
    (batch,) = batches(tiny_store, rows)
    seen = view_of(tiny_store, rows)
    assert not torch.equal(batch, seen), "the rows keep their order, which is often by class"
    order = [int((batch == view).all(dim=(1, 2, 3)).nonzero()) for view in seen]
    assert sorted(order) == list(range(len(rows)))
    assert torch.equal(batches(tiny_store, rows)[0], batch)
    assert not torch.equal(batches(tiny_store, rows, seed=1)[0], batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # the caller's does not reach the views
        assert torch.equal(batches(tiny_store, rows)[0], batch)


def test_no_batch_is_small_beside_the_others(tiny_store: ImageStore) -> None:
    """A last batch of one image would count as much as the others."""
    rows = [row % 40 for row in range(2 * EXTRACTION_BATCH + 1)]
    assert sorted(map(len, batches(tiny_store, rows))) == [85, 86, 86]
