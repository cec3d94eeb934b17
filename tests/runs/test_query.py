"""Which stored results meet in a column: what is refused, with what to type, and how the batch size is chosen."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored_runs import ENVIRONMENT, made_up_run

from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.runs.filters import ResultFilters
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.predictions import ResultCell
from lowres_ssl.runs.query import ResultColumn, find_better_random, select_columns
from lowres_ssl.runs.records import RunOutcome
from lowres_ssl.runs.run import Run


def columns(output_dir: Path, *entries: str, **filters: object) -> list[ResultColumn]:
    frame, problems = read_index(output_dir)
    assert problems == []
    return select_columns(frame, ResultFilters(**filters), entries or ("*",))


def cell(output_dir: Path, entry: str = "dcl", batch_size: int | None = None, **filters: object) -> ResultCell:
    (column,) = columns(output_dir, **filters)
    found = column.cell(entry, batch_size or "best")
    assert found is not None
    return found


def test_column_is_a_data_set_probe_and_split_seed(tmp_path: Path) -> None:
    for dataset in ("phantom", "breast"):
        for split_seed in (0, 1):
            made_up_run(tmp_path, dataset=dataset, split_seed=split_seed)
            made_up_run(tmp_path, dataset=dataset, split_seed=split_seed, probe="linear")
    found = [(column.dataset, column.probe, column.split_seed) for column in columns(tmp_path)]
    assert found == [
        (dataset, probe, seed) for dataset in ("breast", "phantom") for probe in ("knn", "linear") for seed in (0, 1)
    ]


def test_only_ordinary_results_are_meant(tmp_path: Path) -> None:
    wanted = made_up_run(tmp_path)
    made_up_run(tmp_path, seed=1, finished=False)
    made_up_run(tmp_path, seed=2, pretrain_on="all")
    made_up_run(tmp_path, label_fraction=0.1)
    (column,) = columns(tmp_path)
    assert list(column.rows["result"]) == [str(wanted)]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("recipe", ("paper", "tuned")),
        ("backbone", ("resnet18", "resnet50")),
        ("image_size", (32, 64)),
        ("storage_size", (128, 256)),
        ("epochs", (100, 250)),
        ("split", ("official", "stratified")),
        ("split_digest", ("aaaaaaaa", "bbbbbbbb")),
    ],
)
def test_runs_that_disagree_never_meet_in_a_column(tmp_path: Path, key: str, values: tuple[object, object]) -> None:
    folders = [
        made_up_run(tmp_path, method=method, **{key: value})
        for method, value in zip(("dcl", "vicreg"), values, strict=True)
    ]
    with pytest.raises(ConfigError, match=f"type {key}={values[0]} or {key}={values[1]}$") as refused:
        columns(tmp_path)
    assert all(folder.parent.name in str(refused.value) for folder in folders)
    (column,) = columns(tmp_path, **{key: values[1]})
    assert column.entries() == ["vicreg"]


def test_settings_of_the_probe_that_most_results_have_are_taken_and_the_others_named(tmp_path: Path) -> None:
    made_up_run(tmp_path, settings={"k": 5})
    for method in ("dcl", "simclr", "random"):
        made_up_run(tmp_path, method=method)
    extra = made_up_run(tmp_path, method="vicreg", settings={"k": 5, "vote": "softmax"})
    made_up_run(tmp_path, method="random", settings={"k": 5})
    (column,) = columns(tmp_path)
    assert column.entries() == ["dcl", "random", "simclr"]
    assert {"k=200" in settings for settings in column.rows["settings"]} == {True}
    softmax, five = column.notes
    assert five.startswith("phantom, knn, split_seed 0: 1 result with k=5 (phantom-dcl-")
    assert five.endswith("left out; to choose such type settings=k=5")
    assert f"({extra.parent.name})" in softmax
    assert softmax.endswith("type 'settings=k=5, vote=softmax'")
    found = column.cell("dcl")
    assert found is not None
    assert found.notes == column.notes
    (column,) = columns(tmp_path, settings="k=5,vote=softmax")
    assert (column.entries(), column.notes) == (["vicreg"], ())


def test_settings_of_a_recipe_are_refused_with_it_and_not_chosen_by_their_number(tmp_path: Path) -> None:
    for seed in (0, 1):
        made_up_run(tmp_path, seed=seed)
    made_up_run(tmp_path, recipe="tuned", settings={"vote": "softmax"})
    with pytest.raises(ConfigError, match=r"type recipe=paper or recipe=tuned$"):
        columns(tmp_path)


def test_settings_filter_leaves_probes_without_such_a_setting(tmp_path: Path) -> None:
    made_up_run(tmp_path, probe="linear")
    made_up_run(tmp_path)
    assert [column.probe for column in columns(tmp_path, settings="k=5")] == ["linear"]


def test_linear_evaluation_may_differ_in_what_table_1_chooses(tmp_path: Path) -> None:
    made_up_run(tmp_path, probe="linear")
    made_up_run(tmp_path, probe="linear", method="vicreg", settings={"batch_size": 64, "learning_rate": 0.5})
    made_up_run(tmp_path, probe="linear", method="simclr", settings={"epochs": 200})
    (column,) = columns(tmp_path)
    assert column.entries() == ["dcl", "vicreg"]
    assert column.notes[0].endswith("type settings=epochs=200")


def test_where_settings_come_from_is_asked_before_their_numbers(tmp_path: Path) -> None:
    made_up_run(tmp_path, probe="linear", method="vicreg", settings={"settings_from": "paper"})
    for origin, rate in (("paper", 0.1), ("typed", 0.2), ("typed", 0.3)):
        made_up_run(tmp_path, probe="linear", settings={"settings_from": origin, "learning_rate": rate})
    assert columns(tmp_path)[0].notes[0].endswith("type settings=settings_from=typed")
    assert cell(tmp_path).seeds == [0]
    one = r"type settings=learning_rate=0\.\d, or "
    with pytest.raises(ConfigError, match=f"seed 0 is there twice: .*; {one}{one}move one of the two out"):
        cell(tmp_path, settings="settings_from=typed")
    assert cell(tmp_path, settings="settings_from=typed,learning_rate=0.2").seeds == [0]


def test_settings_of_two_probes_are_chosen_one_after_the_other(tmp_path: Path) -> None:
    for settings in ({"k": 3}, {"k": 5}):
        made_up_run(tmp_path, settings=settings)
    for origin in ("paper", "tuned"):
        made_up_run(tmp_path, probe="linear", settings={"settings_from": origin})
    knn, linear = columns(tmp_path, settings="k=5")
    assert knn.notes == ()
    assert linear.notes[0].endswith("type 'settings=k=5, settings_from=tuned'")
    assert len(columns(tmp_path, settings="k=5,settings_from=tuned")) == 2


TUNED = {"settings_from": "tuned"}


@pytest.mark.parametrize(
    ("both", "hint"),
    [
        (
            [{"learning_rate": 0.1}, {"learning_rate": 0.2}],
            r"\S+ and \S+ differ in learning_rate \(0\.\d, 0\.\d\); move one of the two out of output_dir",
        ),
        ([{"precision": "fp32"}, {"precision": "bf16"}], ".* type precision=bf16 or precision=fp32"),
        ([{"optimiser": "sgd"}, {"optimiser": "adamw"}], ".* type optimiser=adamw or optimiser=sgd"),
        (  # what was tuned twice for a run is not chosen by its rate
            [{"probe": "linear", "settings": TUNED | {"learning_rate": rate}} for rate in (0.2, 0.3)],
            r"\S+ and \S+; move one of the two out of output_dir",
        ),
    ],
)
def test_run_that_is_there_twice_is_refused_with_both_names(
    tmp_path: Path, both: list[dict[str, Any]], hint: str
) -> None:
    runs = [made_up_run(tmp_path, **about).parent.name for about in both]
    with pytest.raises(ConfigError, match=f"seed 0 is there twice: {hint}$") as refused:
        cell(tmp_path)
    assert all(run in str(refused.value) for run in runs)


def test_batch_size_is_chosen_on_validation_and_never_on_test(tmp_path: Path) -> None:
    for seed in (0, 1):
        made_up_run(tmp_path, batch_size=16, seed=seed, accuracy=0.95, validation_accuracy=0.6)
        made_up_run(tmp_path, batch_size=64, seed=seed, accuracy=0.55, validation_accuracy=0.8)
    best = cell(tmp_path)
    assert (best.batch_size, best.seeds, best.notes) == (64, [0, 1], ())
    assert cell(tmp_path, batch_size=16).batch_size == 16
    for seed in (0, 1):
        made_up_run(tmp_path, batch_size=32, seed=seed, validation_accuracy=0.8)
    assert cell(tmp_path).batch_size == 32, "of equals the smaller"


def test_batch_size_without_all_seeds_is_left_out_with_a_note(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        made_up_run(tmp_path, batch_size=16, seed=seed, validation_accuracy=0.6)
    made_up_run(tmp_path, batch_size=64, seed=0, validation_accuracy=0.9)
    best = cell(tmp_path)
    assert best.batch_size == 16
    assert "batch size 64 has 1 of 3 seeds" in best.notes[0]


def test_untrained_encoder_has_no_batch_size_and_no_recipe(tmp_path: Path) -> None:
    made_up_run(tmp_path, recipe="released_code")
    made_up_run(tmp_path, method="random", recipe="paper")
    (column,) = columns(tmp_path, recipe="released_code", epochs=250)
    assert column.entries() == ["dcl", "random"]
    found = column.cell("random", 64)
    assert found is not None
    assert found.batch_size is None


def test_untrained_encoder_of_another_recipe_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    """`recipe=tuned` builds another random encoder, with the same settings of the probe."""
    made_up_run(tmp_path)
    wanted = made_up_run(tmp_path, method="random", accuracy=0.5)
    made_up_run(tmp_path, method="random", recipe="tuned", zero_init_residual=False)
    found = cell(tmp_path, "random")
    assert list(found.rows["result"]) == [str(wanted)]


def test_untrained_encoders_stand_beside_those_that_saw_images_stored_as_large(tmp_path: Path) -> None:
    """`recipe=released_code` stores the originals' size, so its random row and its mean colour are of other pixels."""
    for recipe, size in (("paper", 128), ("released_code", 360)):
        made_up_run(tmp_path, recipe=recipe, storage_size=size)
        for method in ("random", "trivial"):
            made_up_run(tmp_path, method=method, recipe=recipe, storage_size=size, accuracy=size / 1000)
    for recipe, size in (("paper", 128), ("released_code", 360)):
        (column,) = columns(tmp_path, recipe=recipe)
        for method in ("random", "trivial"):
            found = column.cell(method)
            assert found is not None
            assert list(found.rows["accuracy"]) == [pytest.approx(size / 1000, abs=0.01)]


def test_encoder_of_ones_own_stands_beside_any_backbone(tmp_path: Path) -> None:
    made_up_run(tmp_path)
    made_up_run(tmp_path, method="pretrained", entry="pretrained efficientnet_lite0", backbone="efficientnet_lite0")
    (column,) = columns(tmp_path, backbone="resnet18")
    assert column.entries("pretrained *") == ["pretrained efficientnet_lite0"]


def test_filters_without_any_result_give_no_column(tmp_path: Path) -> None:
    assert columns(tmp_path, recipe="paper", epochs=3, split_digest="ab", settings="k=5") == []
    made_up_run(tmp_path)
    assert columns(tmp_path, recipe="tuned", settings="k=5") == []


def test_entries_are_meant_by_name_or_pattern(tmp_path: Path) -> None:
    for entry in ("dcl", "simclr", "pretrained vit", "random"):
        made_up_run(tmp_path, method=entry.split()[0], entry=entry)
    for typed, wanted in (("dcl", ["dcl"]), (["random", "pretrained *"], ["pretrained vit", "random"])):
        (column,) = columns(tmp_path, entry=typed)
        assert column.entries() == wanted


def test_seeds_that_were_trained_otherwise_are_not_averaged(tmp_path: Path) -> None:
    made_up_run(tmp_path, seed=0, learning_rate=0.01)
    made_up_run(tmp_path, seed=1, learning_rate=5.0)
    (column,) = columns(tmp_path)
    with pytest.raises(ConfigError, match=r"not trained alike: .* differ in learning_rate \("):
        column.cell("dcl")


def start_from(output_dir: Path, seed: int, named: str, digest: str, entry: str) -> None:
    """Make up a run that started with the weights that were `named` and have this digest."""
    run = Run(made_up_run(output_dir, entry=entry, seed=seed).parent)
    record = run.read()
    run.start(
        replace(
            record,
            identity=replace(record.identity, initial_weights=digest),
            config=replace(record.config, initial_weights=named),
        )
    )


def write_encoder(output_dir: Path, seed: int, **made: Any) -> str:
    """Make up a run of vicreg with an encoder, whose digest is returned."""
    run = Run(made_up_run(output_dir, method="vicreg", seed=seed, finished=False, **made).parent)
    run.encoder().write_text(f"{seed} {made}")
    run.finish(RunOutcome(1, 1.0, ENVIRONMENT))
    return run.read().encoders[run.encoder().name]


@pytest.mark.parametrize("named", ["a/encoder.pt", "imagenet"])
def test_seeds_that_started_with_other_files_of_one_name_are_not_averaged(tmp_path: Path, named: str) -> None:
    entry = f"dcl from {Path(named).name}, 1 stage frozen"
    for seed, digest in enumerate("aab"):
        start_from(tmp_path, seed, named, digest, entry)
    (column,) = columns(tmp_path, seed=[0, 1])
    assert column.cell(entry) is not None
    (column,) = columns(tmp_path)
    with pytest.raises(
        ConfigError, match=rf"started with other weights: .* {named} \(SHA-256 a\) and .* wanted one file"
    ):
        column.cell(entry)


def test_seeds_may_start_with_the_seeds_of_one_method_that_was_trained_alike(tmp_path: Path) -> None:
    for seed, named in enumerate(("method:vicreg", "phantom-vicreg-bs64-s1-12345678", "a/encoder.safetensors")):
        start_from(tmp_path, seed, named, write_encoder(tmp_path, seed), "dcl from vicreg")
    start_from(tmp_path, 3, "method:vicreg", "of a run that is gone", "dcl from vicreg")
    (column,) = columns(tmp_path)
    assert column.cell("dcl from vicreg") is not None
    start_from(tmp_path, 4, "x", write_encoder(tmp_path, 4, learning_rate=5.0), "dcl from vicreg")
    (column,) = columns(tmp_path)
    with pytest.raises(ConfigError, match="started with other weights"):
        column.cell("dcl from vicreg")


def test_predictions_of_a_cell_are_a_row_a_seed(tmp_path: Path) -> None:
    for seed in (1, 0):
        made_up_run(
            tmp_path, seed=seed, images=4, predictions=[seed, 1, 0, 1], groups=["ward b", "", "ward a", "ward b"]
        )
    said = cell(tmp_path).tested
    assert said.predictions.tolist() == [[0, 1, 0, 1], [1, 1, 0, 1]]
    assert said.labels.tolist() == [0, 1, 0, 1]
    assert said.groups.tolist() == [0, -1, 1, 0]
    assert said.classes == ("benign", "malignant")
    assert [result.config.seed for result in said.results] == [0, 1]


def test_seeds_of_other_images_are_found(tmp_path: Path) -> None:
    made_up_run(tmp_path, seed=0, split_digest="same", groups=["a", "b"])
    made_up_run(tmp_path, seed=1, split_digest="same", groups=["a", "c", "c"])
    with pytest.raises(CheckpointError, match="its groups are not those of"):
        _ = cell(tmp_path).tested


@pytest.mark.parametrize(
    ("random", "calibrated", "wanted"),
    [(0.6, 0.7, "random_calibrated"), (0.7, 0.6, "random"), (0.6, 0.6, "random"), (0.6, None, "random")],
)
def test_the_better_start_is_so_on_the_validation_images(
    tmp_path: Path, random: float, calibrated: float | None, wanted: str
) -> None:
    for seed in (0, 1):
        made_up_run(tmp_path, method="random", seed=seed, accuracy=0.9, validation_accuracy=random)
        if calibrated is not None:
            made_up_run(tmp_path, method="random_calibrated", seed=seed, accuracy=0.5, validation_accuracy=calibrated)
    assert find_better_random(*columns(tmp_path)) == wanted


def test_the_better_start_is_chosen_by_the_seeds_that_both_have(tmp_path: Path) -> None:
    for seed, accuracy in ((0, 0.6), (1, 0.9), (2, 0.9)):
        made_up_run(tmp_path, method="random", seed=seed, validation_accuracy=accuracy)
    made_up_run(tmp_path, method="random_calibrated", seed=0, validation_accuracy=0.7)
    assert find_better_random(*columns(tmp_path)) == "random_calibrated"
    made_up_run(tmp_path / "trained")
    assert find_better_random(*columns(tmp_path / "trained")) is None


def test_random_encoder_that_is_there_twice_is_refused_as_any_other(tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        made_up_run(tmp_path, method="random", precision=precision)
    with pytest.raises(ConfigError, match="seed 0 is there twice"):
        find_better_random(*columns(tmp_path))


def test_untrained_encoders_may_have_seeds_of_their_own(tmp_path: Path) -> None:
    for seed in range(4):
        made_up_run(tmp_path, method="random", seed=seed)
        made_up_run(tmp_path, seed=seed)
    for filters, trained, untrained in (
        (ResultFilters(seed=[0, 1]), [0, 1], [0, 1]),
        (ResultFilters(seed=[0, 1], untrained_seed=[0, 2, 3]), [0, 1], [0, 2, 3]),
        (ResultFilters(untrained_seed=2), [0, 1, 2, 3], [2]),
    ):
        kept = filters.apply(read_index(tmp_path)[0])
        assert sorted(kept.loc[kept["method"] == "dcl", "seed"]) == trained
        assert sorted(kept.loc[kept["method"] == "random", "seed"]) == untrained


def test_optimiser_chooses_among_trained_encoders_and_keeps_the_others(tmp_path: Path) -> None:
    for optimiser in ("sgd", "adamw"):
        made_up_run(tmp_path, optimiser=optimiser)
    made_up_run(tmp_path, method="random")
    kept = ResultFilters(optimiser="adamw").apply(read_index(tmp_path)[0])
    assert dict(zip(kept["method"], kept["optimiser"].fillna(""), strict=True)) == {"dcl": "adamw", "random": ""}
