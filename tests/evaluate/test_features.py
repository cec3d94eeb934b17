"""Features of a frozen encoder: it changes in nothing, and an image's features are its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    extract_features,
    iter_shuffled_batches,
    read_stored_features,
    store_features,
)
from lowres_ssl.train.batch_reader import BatchReader

Encoders = Callable[[int], nn.Module]
CPU = DevicePrecision(torch.device("cpu"), "fp32")
VIEW: dict[str, Any] = {"image_size": 12, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}


def features_of(
    encoder: nn.Module, store: ImageStore, rows: list[int] | None = None, compute: DevicePrecision = CPU
) -> Tensor:
    take = BatchReader(store, compute.device, "host")
    return extract_features(encoder, take, list(range(40)) if rows is None else rows, **VIEW, compute=compute)


def trained(encoder: nn.Module) -> nn.Module:
    """With BatchNorm statistics that are not those it starts with."""
    encoder.train()(torch.rand(8, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 3)
    return encoder


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_weight_and_no_buffer_changes(
    tiny_encoder: Encoders, tiny_store: ImageStore, precision: str, training: bool
) -> None:
    encoder = trained(tiny_encoder(0)).train(training)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    features_of(encoder, tiny_store, compute=DevicePrecision(torch.device("cpu"), precision))
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored(tiny_encoder: Encoders, tiny_store: ImageStore, training: bool) -> None:
    encoder = tiny_encoder(0).train(training)
    features_of(encoder, tiny_store)
    assert {module.training for module in encoder.modules()} == {training}


def test_the_mode_is_restored_after_an_error(tiny_encoder: Encoders, tiny_store: ImageStore) -> None:
    encoder = tiny_encoder(0)
    with pytest.raises(IndexError):
        features_of(encoder, tiny_store, [0, 400])
    assert encoder.training


def test_the_mode_it_was_in_does_not_matter(tiny_encoder: Encoders, tiny_store: ImageStore) -> None:
    encoder = trained(tiny_encoder(0))
    in_training = features_of(encoder.train(), tiny_store)
    assert torch.equal(features_of(encoder.eval(), tiny_store), in_training)


def test_features_are_the_encoders_output_for_the_whole_image(tiny_encoder: Encoders, tiny_store: ImageStore) -> None:
    encoder = trained(tiny_encoder(0)).eval()
    with torch.no_grad():
        expected = encoder(make_evaluation_view(torch.from_numpy(tiny_store.images), **VIEW))
    torch.testing.assert_close(features_of(encoder, tiny_store), expected)


def test_features_are_float32_rows_without_gradient(tiny_encoder: Encoders, tiny_store: ImageStore) -> None:
    got = features_of(tiny_encoder(0), tiny_store, compute=DevicePrecision(torch.device("cpu"), "bf16"))
    assert (got.shape, got.dtype, got.requires_grad) == ((40, 8), torch.float32, False)


@pytest.mark.parametrize("size", [1, 7, 40])
def test_features_are_the_same_whatever_the_batch(
    tiny_encoder: Encoders, tiny_store: ImageStore, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = trained(tiny_encoder(0))
    expected = features_of(encoder, tiny_store)
    monkeypatch.setattr(features, "EXTRACTION_BATCH", size)
    torch.testing.assert_close(features_of(encoder, tiny_store), expected, rtol=1e-5, atol=1e-6)


def test_features_come_in_the_order_of_the_rows(
    tiny_encoder: Encoders, tiny_store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "EXTRACTION_BATCH", 3)
    encoder, rows = trained(tiny_encoder(0)), [30, 2, 2, 17, 0, 39, 5]
    got = features_of(encoder, tiny_store, rows)
    torch.testing.assert_close(got, features_of(encoder, tiny_store)[rows], rtol=1e-5, atol=1e-6)


def test_bf16_gives_nearly_the_same_features(tiny_encoder: Encoders, tiny_store: ImageStore) -> None:
    encoder = trained(tiny_encoder(0))
    exact = features_of(encoder, tiny_store)
    narrow = features_of(encoder, tiny_store, compute=DevicePrecision(torch.device("cpu"), "bf16"))
    assert not torch.equal(narrow, exact)
    torch.testing.assert_close(narrow, exact, rtol=0.05, atol=0.02)


def test_features_that_are_not_finite_are_refused(tiny_encoder: Encoders, tiny_store: ImageStore) -> None:
    encoder = tiny_encoder(0)
    nn.init.constant_(encoder[6].weight, torch.inf)
    with pytest.raises(TrainingError, match="NaN or infinite; try precision=fp32"):
        features_of(encoder, tiny_store)


def test_no_image_has_no_features(tiny_encoder: Encoders, tiny_store: ImageStore) -> None:
    with pytest.raises(ValueError, match="no images"):
        features_of(tiny_encoder(0), tiny_store, [])


def test_stored_features_come_back_under_their_key(tmp_path: Path) -> None:
    made = {"train": torch.rand(3, 2), "test": torch.rand(1, 2)}
    store_features(tmp_path / "features.safetensors", made, "abc")
    loaded = read_stored_features(tmp_path / "features.safetensors", "abc")
    assert loaded is not None
    assert loaded.keys() == made.keys()
    assert all(torch.equal(loaded[side], made[side]) for side in made)


def test_stored_features_of_something_else_are_not_taken(tmp_path: Path) -> None:
    store_features(tmp_path / "features.safetensors", {"train": torch.rand(3, 2)}, "abc")
    assert read_stored_features(tmp_path / "features.safetensors", "abd") is None


@pytest.mark.parametrize("content", [None, b"", b"no features"])
def test_features_that_are_missing_or_damaged_are_made_anew(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "features.safetensors").write_bytes(content)
    assert read_stored_features(tmp_path / "features.safetensors", "abc") is None


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_features_on_a_gpu_are_those_on_the_cpu(tiny_encoder: Encoders, tiny_store: ImageStore, precision: str) -> None:
    encoder = trained(tiny_encoder(0))
    exact = features_of(encoder, tiny_store)
    got = features_of(encoder.cuda(), tiny_store, compute=DevicePrecision(torch.device("cuda"), precision))
    torch.testing.assert_close(got, exact, rtol=0.05, atol=0.02)


def test_bf16_features_are_those_of_fp32_but_for_noise(tiny_encoder: Encoders, tiny_store: ImageStore) -> None:
    """Each row points where it did, far closer than to any other, so that its nearest neighbours are the same."""
    encoder = trained(tiny_encoder(0))
    exact, rounded = (
        nn.functional.normalize(
            features_of(encoder, tiny_store, compute=DevicePrecision(torch.device("cpu"), precision)), dim=1
        )
        for precision in ("fp32", "bf16")
    )
    own = (exact * rounded).sum(dim=1)
    others = (exact @ exact.T).fill_diagonal_(-1).max(dim=1).values
    assert (1 - own).max() < 0.1 * (1 - others).min()


def batches(store: ImageStore, rows: list[int], seed: int = 0, compute: DevicePrecision = CPU) -> list[Tensor]:
    return list(
        iter_shuffled_batches(BatchReader(store, compute.device, "host"), rows, **VIEW, compute=compute, seed=seed)
    )


def test_shuffled_batches_show_each_row_once_as_features_see_it(tiny_store: ImageStore) -> None:
    rows = list(range(1, 40))
    (batch,) = batches(tiny_store, rows)
    seen = make_evaluation_view(torch.from_numpy(tiny_store.images[rows]), **VIEW)
    assert not torch.equal(batch, seen), "the rows keep their order, which is often by class"
    order = [int((batch == view).all(dim=(1, 2, 3)).nonzero()) for view in seen]
    assert sorted(order) == list(range(len(rows)))


def test_shuffled_batches_are_the_same_from_the_same_seed(tiny_store: ImageStore) -> None:
    rows = list(range(40))
    one, same, other = (batches(tiny_store, rows, seed)[0] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_no_batch_is_small_beside_the_others(tiny_store: ImageStore) -> None:
    rows = [
        row % 40 for row in range(2 * EXTRACTION_BATCH + 1)
    ]  # a last batch of one image would count as much as the others
    assert sorted(map(len, batches(tiny_store, rows))) == [85, 86, 86]


def test_autocast_of_the_caller_does_not_reach_the_views(tiny_store: ImageStore) -> None:
    (wanted,) = batches(tiny_store, list(range(40)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (got,) = batches(tiny_store, list(range(40)))
    assert torch.equal(got, wanted)
