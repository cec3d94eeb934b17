"""t-SNE of one run: the same bytes for the same features, whatever the classes are called and however few images; and
Figure 4: the best method, chosen on validation, beside ImageNet's weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.reporting.figures import tsne
from lowres_ssl.reporting.figures.tsne import MAX_DOTS, draw_tsne
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.result_io import read_predictions
from lowres_ssl.runs.run import Run

Floats = np.ndarray[Any, Any]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads of t-SNE wait for each other where other test processes hold the cores."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    saved: list[Figure] = []
    really = Figure.savefig

    def save(self: Figure, *arguments: Any, **options: Any) -> None:
        saved.append(self)
        really(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", save)
    return saved


@pytest.fixture
def _without_tsne(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two features as they are, for what does not depend on t-SNE."""
    monkeypatch.setattr(tsne, "compute_tsne", lambda features: features[:, :2])


def features_of(images: int, width: int = 6) -> Floats:
    return np.random.default_rng(0).normal(size=(images, width)).astype(np.float32)


def labels_of(images: int, classes: int = 2) -> Floats:
    return np.arange(images) % classes


def legend_of(figure: Figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def test_same_features_give_the_same_bytes(tmp_path: Path) -> None:
    one, again, other = (tmp_path / f"{name}.png" for name in ("one", "again", "other"))
    features, labels = features_of(40), labels_of(40)
    draw_tsne(one, features, labels, ["a", "b"], "title")
    draw_tsne(again, features.copy(), labels, ["a", "b"], "title")
    draw_tsne(other, features[::-1].copy(), labels, ["a", "b"], "title")
    assert one.read_bytes() == again.read_bytes() != other.read_bytes()
    with Image.open(one) as image:
        assert (image.format, image.size) == ("PNG", (1050, 840))


def dots_of(figure: Figure) -> list[Floats]:
    """Of each class."""
    return [np.asarray(collection.get_offsets()) for collection in figure.axes[0].collections]


@pytest.mark.parametrize("images", [0, 1, 3, 4, 7, 30])
@pytest.mark.parametrize(
    "change",
    [
        lambda features: features,
        np.ones_like,
        lambda features: features[:, :1],
        lambda features: features * [1, 0, 0, 0, 0, 0],
        lambda features: features * 1e-30,
        lambda features: features * 1e15,
    ],
    ids=["usual", "constant", "one feature", "one that varies", "tiny", "huge"],
)
def test_few_images_and_features_with_nothing_to_spread_are_drawn(
    tmp_path: Path, drawn: list[Figure], images: int, change: Any
) -> None:
    features = change(features_of(images)).astype(np.float32)
    draw_tsne(tmp_path / "few.png", features, labels_of(images), ["a", "b"], "title")
    dots = np.concatenate(dots_of(drawn[0]))
    assert len(dots) == images
    assert np.isfinite(dots).all()


NAMES = [
    "plain",
    "a $5 and $6 class",
    "$x^2$",
    "one $",
    r"back\slash",
    r"\$",
    "_hidden",
    "__",
    "Größe β",
    "正常",
    "",
    "100%",
    " ",
]


@pytest.mark.usefixtures("_without_tsne")
def test_class_names_stand_in_the_legend_as_they_are(tmp_path: Path, drawn: list[Figure]) -> None:
    draw_tsne(tmp_path / "names.png", features_of(26), labels_of(26, len(NAMES)), NAMES, "title")
    assert [as_shown(text) for text in legend_of(drawn[0])] == NAMES


def as_shown(text: str) -> str:
    """What matplotlib makes of the text of a label without mathematics in it: an escaped dollar is a dollar."""
    from matplotlib.cbook import is_math_text

    assert not is_math_text(text)
    return text.replace(r"\$", "$")


@pytest.mark.usefixtures("_without_tsne")
@pytest.mark.parametrize("classes", [2, 4, 8, 9, 20, 32])
def test_classes_are_told_apart_by_colour_and_marker(tmp_path: Path, drawn: list[Figure], classes: int) -> None:
    images = 2 * classes
    names = [f"class {n}" for n in range(classes)]
    draw_tsne(tmp_path / "a.png", features_of(images), labels_of(images, classes), names, "title")
    collections = drawn[0].axes[0].collections
    looks = {(to_hex(each.get_facecolor()[0]), each.get_paths()[0].vertices.round(6).tobytes()) for each in collections}
    assert len(looks) == classes
    assert len({colour for colour, _ in looks}) == min(classes, 8)
    assert len({shape for _, shape in looks}) == min(classes, 4)
    assert legend_of(drawn[0]) == names


@pytest.mark.usefixtures("_without_tsne")
@pytest.mark.parametrize("images", [MAX_DOTS, MAX_DOTS + 1, 4567])
def test_more_than_2000_images_are_an_even_sample_and_the_picture_says_so(
    tmp_path: Path, drawn: list[Figure], images: int
) -> None:
    places = np.stack([np.arange(images), np.zeros(images)], axis=1).astype(np.float32)
    draw_tsne(tmp_path / "a.png", places, labels_of(images, 3), ["a", "b", "c"], "title")
    shown = drawn[0].axes[0].get_title(loc="left").splitlines()[1]
    number = "2,000" if images == MAX_DOTS else f"2,000 of {images:,}"
    assert shown == f"t-SNE of the features of {number} test images"
    dots = [own[:, 0] for own in dots_of(drawn[0])]
    drawn_places = np.sort(np.concatenate(dots))
    assert len(set(drawn_places)) == MAX_DOTS
    assert (drawn_places[0], drawn_places[-1]) == (0, images - 1)
    assert np.diff(drawn_places).max() <= images // MAX_DOTS + 1
    for label, own in enumerate(dots):
        assert (own.astype(int) % 3 == label).all(), "a dot has the colour of its own class"


# Figure 4.


def titles_of(axes: Any) -> list[str]:
    return [each.get_title(loc="left").splitlines() for each in axes if each.axison]


@pytest.mark.usefixtures("_without_tsne")
def test_best_is_chosen_on_validation_and_stands_beside_imagenet(figured_run: Any, draw: Any) -> None:
    features = features_of(120)
    # On test images SimCLR is better, at any batch size; on validation DCL at 32.
    figured_run(method="simclr", accuracy=0.95, validation_accuracy=0.6, features=features)
    figured_run(method="dcl", batch_size=16, accuracy=0.9, validation_accuracy=0.7, features=features)
    figured_run(method="dcl", batch_size=32, accuracy=0.5, validation_accuracy=0.8, features=features + 1)
    figured_run(method="imagenet", accuracy=0.99, validation_accuracy=0.9, features=features * 2)
    figured_run(method="random", accuracy=0.4, features=features * 3)
    figure = draw("tsne")
    best, other = titles_of(figure.axes)
    score = silhouette_score(features, labels_of(120))
    assert best == [
        "DCL, batch size 32, seed 0",
        f"silhouette of the features {score:.2f}",
        "KNN (k=200) accuracy 0.50, 120 images",
    ]
    assert other[0] == "ImgNet+TL, seed 0"
    dots = np.concatenate(dots_of(figure))
    assert np.allclose(np.sort(dots, axis=0), np.sort(features[:, :2] + 1, axis=0))


@pytest.mark.usefixtures("_without_tsne")
def test_dots_have_the_class_of_their_image_and_the_legend_names_it(figured_run: Any, draw: Any) -> None:
    places = np.stack([np.arange(90), np.zeros(90)], axis=1).astype(np.float32)
    folder = figured_run(method="dcl", images=90, classes=("a", "_b", "c"), features=places)
    labels = read_predictions(folder)["test_labels"]
    figure = draw("tsne")
    for label, dots in enumerate(figure.axes[0].collections):
        assert set(np.asarray(dots.get_offsets())[:, 0].astype(int)) == set(np.flatnonzero(labels == label))
    (part,) = figure.subfigs
    assert [text.get_text() for text in part.legends[0].get_texts()] == ["a", "_b", "c"]


@pytest.mark.usefixtures("_without_tsne")
@pytest.mark.parametrize(
    ("methods", "name"),
    [
        ([("pretrained", "pretrained vit"), ("random", None)], "pretrained vit, seed 1"),
        ([("random", None)], "random initialisation, seed 1"),
    ],
)
def test_without_imagenet_the_next_best_stands_beside_of_one_seed_if_both_have_one(
    figured_run: Any, draw: Any, methods: list[tuple[str, str | None]], name: str
) -> None:
    for seed in (0, 1, 2):
        figured_run(method="dcl", seed=seed, features=features_of(120))
    for method, entry in methods:
        figured_run(method=method, entry=entry, seed=1, features=features_of(120))
    best, beside = titles_of(draw("tsne").axes)
    assert (best[0], beside[0]) == ("DCL, batch size 64, seed 1", name)


def test_without_validation_images_none_is_the_best(figured_run: Any, draw: Any, tmp_path: Path) -> None:
    for method in ("dcl", "vicreg"):
        figured_run(method=method)
    results = read_index(tmp_path)[0].assign(validation_accuracy=np.nan)
    with pytest.raises(ConfigError, match=r"type figure\.tsne\.candidates=\[dcl\]"):
        draw("tsne", results=results)


def test_features_that_are_gone_are_an_error_with_the_command(figured_run: Any, draw: Any) -> None:
    folder = figured_run(method="dcl", features=features_of(120))
    Run(folder.parent).features("selected", "fp32").unlink()
    with pytest.raises(CheckpointError, match=rf"type lowres-ssl evaluate run={folder.parent.name} force=true"):
        draw("tsne")
