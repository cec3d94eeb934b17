"""The t-SNE picture: the same bytes for the same features, whatever the classes are called and however few images."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image
from threadpoolctl import threadpool_limits

from lowres_ssl import figures
from lowres_ssl.figures import MOST_DOTS, draw_tsne, embed

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
    monkeypatch.setattr(figures, "embed", lambda features: features[:, :2])


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


def test_classes_far_apart_are_apart_in_the_picture() -> None:
    features = features_of(40)
    features[1::2] += 50
    dots = embed(features)
    assert dots.shape == (40, 2)
    assert np.isfinite(dots).all()
    middles = dots[::2].mean(axis=0), dots[1::2].mean(axis=0)
    nearer_its_own = [
        np.linalg.norm(dot - middles[n % 2]) < np.linalg.norm(dot - middles[1 - n % 2]) for n, dot in enumerate(dots)
    ]
    assert all(nearer_its_own)


@pytest.mark.parametrize("images", [0, 1, 2, 3, 4, 5, 7])
def test_few_images_are_drawn(tmp_path: Path, drawn: list[Figure], images: int) -> None:
    draw_tsne(tmp_path / "few.png", features_of(images), labels_of(images), ["a", "b"], "title")
    assert dots_of(drawn[0]) == images


def dots_of(figure: Figure) -> int:
    return sum(len(np.asarray(collection.get_offsets())) for collection in figure.axes[0].collections)


@pytest.mark.parametrize("images", [3, 30])
@pytest.mark.parametrize(
    "change",
    [
        lambda features: np.ones_like(features),
        lambda features: features[:, :1],
        lambda features: features * [1, 0, 0, 0, 0, 0],
        lambda features: np.repeat(features[:1], len(features), axis=0),
        lambda features: features * 1e-30,
        lambda features: features * 1e15,
    ],
    ids=["constant", "one feature", "one that varies", "copies", "tiny", "huge"],
)
def test_features_with_nothing_to_spread_are_drawn(
    tmp_path: Path, drawn: list[Figure], images: int, change: Any
) -> None:
    features = change(features_of(images)).astype(np.float32)
    draw_tsne(tmp_path / "flat.png", features, labels_of(images), ["a", "b"], "title")
    assert all(np.isfinite(np.asarray(each.get_offsets())).all() for each in drawn[0].axes[0].collections)


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
    "100%",
    "a_b^c{d}",
    " ",
]


@pytest.mark.usefixtures("_without_tsne")
def test_class_names_stand_in_the_legend_as_they_are(tmp_path: Path, drawn: list[Figure]) -> None:
    draw_tsne(tmp_path / "names.png", features_of(24), labels_of(24, len(NAMES)), NAMES, "title")
    assert [as_shown(text) for text in legend_of(drawn[0])] == NAMES


def as_shown(text: str) -> str:
    """What matplotlib makes of the text of a label without mathematics in it: an escaped dollar is a dollar."""
    from matplotlib.cbook import is_math_text

    assert not is_math_text(text)
    return text.replace(r"\$", "$")


@pytest.mark.usefixtures("_without_tsne")
@pytest.mark.parametrize("names", [["_a", "_b"], ["", "b"]])
def test_names_that_matplotlib_would_hide_are_all_in_the_legend(
    tmp_path: Path, drawn: list[Figure], names: list[str]
) -> None:
    draw_tsne(tmp_path / "names.png", features_of(8), labels_of(8), names, "title")
    assert legend_of(drawn[0]) == names


@pytest.mark.usefixtures("_without_tsne")
def test_letters_that_the_font_lacks_are_no_warning(tmp_path: Path, drawn: list[Figure]) -> None:
    draw_tsne(tmp_path / "names.png", features_of(8), labels_of(8), ["正常", "异常"], "胸部")
    assert legend_of(drawn[0]) == ["正常", "异常"]


@pytest.mark.usefixtures("_without_tsne")
def test_class_without_images_is_in_the_legend(tmp_path: Path, drawn: list[Figure]) -> None:
    draw_tsne(tmp_path / "a.png", features_of(8), np.zeros(8, dtype=np.int64), ["a", "b"], "title")
    assert legend_of(drawn[0]) == ["a", "b"]


@pytest.mark.usefixtures("_without_tsne")
@pytest.mark.parametrize("title", ["VICReg, 250 epochs", "costs $5 to $6", "_under"])
def test_title_stands_as_it_is_with_the_number_of_images(tmp_path: Path, drawn: list[Figure], title: str) -> None:
    draw_tsne(tmp_path / "a.png", features_of(8), labels_of(8), ["a", "b"], title)
    shown = as_shown(drawn[0].axes[0].get_title(loc="left"))
    assert shown == f"{title}\nt-SNE of the features of 8 test images"


@pytest.mark.usefixtures("_without_tsne")
@pytest.mark.parametrize("classes", [8, 9, 20, 32])
def test_more_than_eight_classes_are_told_apart_by_marker(tmp_path: Path, drawn: list[Figure], classes: int) -> None:
    images = 2 * classes
    names = [f"class {n}" for n in range(classes)]
    draw_tsne(tmp_path / "a.png", features_of(images), labels_of(images, classes), names, "title")
    collections = drawn[0].axes[0].collections
    looks = {(to_hex(each.get_facecolor()[0]), each.get_paths()[0].vertices.round(6).tobytes()) for each in collections}
    assert len(looks) == classes
    assert len({colour for colour, _ in looks}) == min(classes, 8)
    assert len({shape for _, shape in looks}) == math.ceil(classes / 8)
    assert legend_of(drawn[0]) == names


@pytest.mark.usefixtures("_without_tsne")
@pytest.mark.parametrize("images", [MOST_DOTS, MOST_DOTS + 1, 4567])
def test_more_than_2000_images_are_an_even_sample_and_the_picture_says_so(
    tmp_path: Path, drawn: list[Figure], images: int
) -> None:
    places = np.stack([np.arange(images), np.zeros(images)], axis=1).astype(np.float32)
    draw_tsne(tmp_path / "a.png", places, labels_of(images, 3), ["a", "b", "c"], "title")
    shown = drawn[0].axes[0].get_title(loc="left").splitlines()[1]
    number = "2,000" if images == MOST_DOTS else f"2,000 of {images:,}"
    assert shown == f"t-SNE of the features of {number} test images"
    dots = [np.asarray(each.get_offsets())[:, 0] for each in drawn[0].axes[0].collections]
    drawn_places = np.sort(np.concatenate(dots))
    assert len(set(drawn_places)) == MOST_DOTS
    assert (drawn_places[0], drawn_places[-1]) == (0, images - 1)
    assert np.diff(drawn_places).max() <= images // MOST_DOTS + 1
    for label, own in enumerate(dots):
        assert (own.astype(int) % 3 == label).all(), "a dot has the colour of its own class"


@pytest.mark.usefixtures("_without_tsne")
def test_folder_is_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    draw_tsne(tmp_path / "new" / "a.png", features_of(8), labels_of(8), ["a", "b"], "title")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]
