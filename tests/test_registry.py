"""Finding and building by name, in a package made for it; what a user typed wrong is told in one line."""

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import pytest

from lowres_ssl.errors import ConfigError
from lowres_ssl.registry import build, list_available, matches_type


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


def draw(name: str, *, scale: int = 1, **arguments: Any) -> Shape:
    return build("drawn", name, Shape, arguments, "shape.options", "shape", scale=scale)


def message_of(name: str, **arguments: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        draw(name, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_module_files_are_available_and_nothing_else() -> None:
    assert list_available("drawn", Shape) == ["circle", "square"]


def test_the_class_is_built_with_what_the_user_typed_and_what_the_program_knows() -> None:
    assert draw("circle", radius=2, scale=10).area() == 120


def test_the_one_concrete_class_of_its_own_is_taken() -> None:
    assert type(build("drawn", "square", Shape, {}, "x", "shape")).__name__ == "Square"


def test_a_module_of_two_concrete_classes_is_our_defect() -> None:
    with pytest.raises(TypeError, match=r"drawn.two should define one concrete Shape, it defines 2"):
        draw("two")


@pytest.mark.parametrize(
    "name", ["", "_hidden", "__init__", "inner", "circle.Circle", "../drawn/circle", "os", "Circle", "none"]
)
def test_a_name_that_is_no_module_file_is_refused_with_those_that_are(name: str) -> None:
    assert message_of(name).startswith(f"shape={name}: wanted one of circle, square")


def test_a_name_nearly_right_is_suggested_as_it_is_typed() -> None:
    assert message_of("cirle").endswith("; did you mean shape=circle?")


def test_a_name_far_off_suggests_nothing() -> None:
    assert "did you mean" not in message_of("xyz")


def test_an_unknown_key_is_told_with_the_known_ones_and_the_nearest() -> None:
    message = message_of("circle", radios=3)
    assert message == ("unknown key shape.options.radios: circle takes radius; did you mean shape.options.radius=3?")


def test_what_the_program_knows_is_not_the_users_to_set() -> None:
    with pytest.raises(ConfigError, match=r"^unknown key shape\.options\.scale: circle takes radius"):
        build("drawn", "circle", Shape, {"radius": 1, "scale": 2}, "shape.options", "shape", scale=1)


def test_a_missing_key_is_told_with_its_type_and_what_to_type() -> None:
    assert message_of("circle") == (
        "shape.options.radius is missing: circle wants a number there; type shape.options.radius=VALUE"
    )


NOT_FITTING: list[tuple[object, Any]] = [
    (True, int),
    (3.0, int),
    (True, float),
    (float("inf"), float),
    (1, bool),
    (1, str),
    ("", int | None),
    ([1, "a"], list[int]),
    ((1, 2), list[int]),
    ([True], list[int]),
    ({1: 1}, dict[str, int]),
    ({"a": "b"}, dict[str, int]),
    ("max", Literal["sum", "mean"]),
    (True, Literal[1, 2]),
    (0, None),
]


@pytest.mark.parametrize(("value", "hint"), NOT_FITTING)
def test_a_value_of_another_type_does_not_fit(value: object, hint: Any) -> None:
    assert not matches_type(value, hint)
