"""Finding and building by name, in a package made for it; what a user typed wrong is refused in one line."""

import importlib
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import pytest

from lowres_ssl.errors import ConfigError
from lowres_ssl.registry import build, import_extra, list_available, matches_type


class Shape(ABC):
    """What the modules below subclass."""

    @abstractmethod
    def area(self) -> float: ...


MODULES = {
    "__init__": "",
    "circle": """
        from test_registry import Shape
        class Circle(Shape):
            def __init__(self, radius: float, *, scale: int) -> None:
                self.radius, self.scale = radius, scale
            def area(self) -> float:
                return 3 * self.radius**2 * self.scale
        """,
    # What is imported, abstract or of another kind does not count.
    "square": """
        from abc import abstractmethod
        from test_registry import Shape
        from drawn.circle import Circle
        class Sided(Shape):
            @abstractmethod
            def sides(self) -> int: ...
        class Square(Sided):
            def area(self) -> float:
                return 1.0
            def sides(self) -> int:
                return 4
        class Pencil: ...
        """,
    "none": "from drawn.circle import Circle",
    "two": """
        from drawn.circle import Circle
        class One(Circle): ...
        class Two(Circle): ...
        """,
    "_hidden": "raise AssertionError('imported')",
}


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package `drawn` with these modules and a package inside."""
    folder = tmp_path / "drawn"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "__init__.py").write_text("")
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(re.sub(r"^ {8}", "", text, flags=re.MULTILINE))
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("drawn", *(f"drawn.{name}" for name in MODULES)):
        monkeypatch.delitem(__import__("sys").modules, module, raising=False)


def draw(name: str, **arguments: Any) -> Shape:
    return build("drawn", name, Shape, arguments, "shape.options", "shape", scale=10)


def test_the_one_concrete_class_of_a_module_file_is_built() -> None:
    assert list_available("drawn", Shape) == ["circle", "square"]
    assert draw("circle", radius=2).area() == 120
    assert type(build("drawn", "square", Shape, {}, "x", "shape")).__name__ == "Square"
    with pytest.raises(TypeError, match=r"drawn.two should define one concrete Shape, it defines 2"):
        draw("two")


@pytest.mark.parametrize("name", ["", "_hidden", "__init__", "inner", "circle.Circle", "../drawn/circle", "os", "none"])
def test_a_name_that_is_no_module_file_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^shape={re.escape(name)}: wanted one of circle, square"):
        draw(name)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("cirle", {}, "shape=cirle: wanted one of circle, square; did you mean shape=circle?"),
        (
            "circle",
            {"radios": 3},
            "unknown key shape.options.radios: circle takes radius; did you mean shape.options.radius=3?",
        ),
        ("circle", {"radius": "3"}, "shape.options.radius=3: got text, wanted a number"),
        ("circle", {}, "shape.options.radius is missing: circle wants a number there; type shape.options.radius=VALUE"),
    ],
)
def test_what_is_typed_wrong_is_refused_with_what_to_type(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        draw(name, **arguments)
    assert str(caught.value) == message


def test_what_the_program_knows_is_not_the_users_to_set() -> None:
    with pytest.raises(ConfigError, match=r"^unknown key shape\.options\.scale: circle takes radius"):
        build("drawn", "circle", Shape, {"radius": 1, "scale": 2}, "shape.options", "shape", scale=1)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (True, int),
        (3.0, int),
        (True, float),
        (float("inf"), float),
        (1, bool),
        (1, str),
        ("", int | None),
        ([1, "a"], list[int]),
        ({"a": "b"}, dict[str, int]),
        ("max", Literal["sum", "mean"]),
    ],
)
def test_a_value_of_another_type_does_not_fit(value: object, hint: Any) -> None:
    assert not matches_type(value, hint)


@pytest.mark.parametrize(
    ("value", "hint"),
    [(1, float), (True, bool), (None, int | None), ([1], list[int]), ({"a": 1}, dict[str, int]), ("x", Any)],
)
def test_a_value_of_the_type_fits(value: object, hint: Any) -> None:
    assert matches_type(value, hint)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ModuleNotFoundError("No module named 'timm'", name="timm"),
            r"^x needs timm; type pip install 'lowres-ssl\[timm\]'",
        ),
        (ImportError("libcudart.so"), r"^x needs timm, which cannot be imported \(libcudart\.so\); type pip install "),
    ],
)
def test_library_of_an_extra_that_is_missing_or_broken_is_named(
    monkeypatch: pytest.MonkeyPatch, error: ImportError, said: str
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ConfigError, match=said):
        import_extra("timm", "timm", "x")
