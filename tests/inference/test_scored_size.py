"""`scored_size`: an encoder scored, and asked by `predict`, on larger images than it was trained on."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from in_process import type_command
from made_runs import Made

from lowres_ssl import load_encoder, predict
from lowres_ssl.encoders.weights_file import load_tensors
from lowres_ssl.inference.load import choose_stored_result
from lowres_ssl.runs.result_io import read_predictions
from lowres_ssl.runs.run import Run


@pytest.fixture(scope="module")
def scored(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made run, scored at 24 px as well."""
    outputs = tmp_path_factory.mktemp("scored")
    shutil.copytree(made.run, outputs / "pretrain" / made.run.name)
    typed = ["evaluate", f"run={made.run.name}", "scored_size=24", "probe=[knn,logistic]", "probe.knn.k=5"]
    assert type_command(*typed, f"output_dir={outputs}", f"dataset.root={made.images}") == 0
    return outputs / "pretrain" / made.run.name


def test_results_of_two_sizes_stand_side_by_side(scored: Path) -> None:
    sizes = [result.scored_size for _, result in Run(scored).results() if result.probe == "logistic"]
    assert sorted(sizes, key=bool) == [None, 24]
    small, large = (load_tensors(scored / f"features-encoder-fp32{end}.safetensors")[0] for end in ("", "-24px"))
    assert small["test"].shape == large["test"].shape
    assert not np.allclose(small["test"], large["test"])


def test_predict_shows_images_at_the_size_that_the_probe_was_fitted_at(made: Made, scored: Path) -> None:
    (folder,) = (
        folder for folder, result in Run(scored).results() if (result.probe, result.scored_size) == ("logistic", 24)
    )
    encoder = load_encoder(scored)
    _, result = choose_stored_result(encoder.run, folder.name, "fp32")
    stored = read_predictions(folder, result)
    predicted = predict(encoder, made.images, probe=folder.name, batch_size=32)
    rows = [predicted.ids.index(id) for id in stored["test_ids"]]
    wanted = predicted.calibration.apply(stored["test_scores"])
    np.testing.assert_allclose(predicted.probabilities[rows], wanted, rtol=1e-3, atol=1e-4)


def test_the_training_size_typed_is_the_same_result(scored: Path, made: Made) -> None:
    before = sorted(folder for folder, _ in Run(scored).results())
    typed = ["evaluate", f"run={scored.name}", "scored_size=20", "probe=[knn]", "probe.knn.k=5"]
    assert type_command(*typed, f"output_dir={scored.parents[1]}", f"dataset.root={made.images}") == 0
    assert sorted(folder for folder, _ in Run(scored).results()) == before
