"""Find and build what has one file a choice (a method, a probe, a source), by the name of the file; import extras.

The user's arguments are checked against the constructor's annotated signature: a new file defines its own keys.
"""

import importlib
import inspect
import math
import pkgutil
from collections.abc import Collection, Mapping
from types import ModuleType, NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lowres_ssl.errors import ConfigError, did_you_mean

T = TypeVar("T")

TYPE_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "a set of keys",
    NoneType: "null",
}


def list_available(package: str, base: type) -> list[str]:
    """List the names that `build` takes: the modules of `package` that define a subclass of `base` for it to build."""
    return [name for name in list_modules(package) if len(find_concrete_classes(package, name, base)) == 1]


def list_modules(package: str) -> list[str]:
    """List the module files directly in `package` by name, private ones left out."""
    modules = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return sorted(module.name for module in modules if not module.ispkg and not module.name.startswith("_"))


def find_concrete_classes(package: str, name: str, base: type[T]) -> list[type[T]]:
    """Find the concrete subclasses of `base` that `<package>/<name>.py` defines itself."""
    module = importlib.import_module(f"{package}.{name}")
    return [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, base)
        and member is not base
        and not inspect.isabstract(member)
        and member.__module__ == module.__name__
    ]


def build(
    package: str, name: str, base: type[T], arguments: Mapping[str, Any], what: str, named_by: str, **given: object
) -> T:
    """Build the one concrete subclass of `base` in `<package>/<name>.py` with `arguments` and `given`.

    `what` is the key of the arguments as the user types it ("method", for `method.temperature=0.1`), `named_by` that of
    the name ("method", for `method=simclr`). `given` comes from the program, not from the user. Only module files of
    `package` are imported.

    Annotations may be int (a bool is none), float (finite, or an int), bool, str, `X | None`, `list[X]`,
    `dict[str, X]`, `Literal[...]`. Raises `ConfigError` for an unknown name, and for a key that is unknown, missing or
    of a wrong type; what a constructor raises passes through.
    """
    cls = find_class(package, name, base, named_by)
    check_arguments(cls, name, arguments, what, given=given)
    return cls(**given, **arguments)


def find_class(package: str, name: str, base: type[T], named_by: str) -> type[T]:
    """Find the one concrete subclass of `base` in `<package>/<name>.py`. Raises `ConfigError` where there is none."""
    found = find_concrete_classes(package, name, base) if name in list_modules(package) else []
    if len(found) > 1:
        raise TypeError(f"{package}.{name} should define one concrete {base.__name__}, it defines {len(found)}")
    if not found:
        names = list_available(package, base)
        hint = did_you_mean(name, names, f"{named_by}={{}}")
        raise ConfigError(f"{named_by}={name}: wanted one of {', '.join(names)}{hint}")
    return found[0]


def check_arguments(
    cls: type, name: str, arguments: Mapping[str, Any], what: str, *, given: Collection[str] = ()
) -> None:
    """Raise `ConfigError` where `arguments` do not fit the constructor of `cls`, which the user types as `name`.

    The user cannot set the parameters named in `given`.
    """
    constructor = inspect.getattr_static(cls, "__init__")
    signature = {} if constructor is object.__init__ else dict(inspect.signature(cls).parameters)
    parameters = {key: parameter for key, parameter in signature.items() if key not in given}
    hints = get_type_hints(constructor) if parameters else {}
    for key, value in arguments.items():
        if key not in parameters:
            known = ", ".join(parameters) or "no arguments"
            hint = did_you_mean(key, list(parameters), f"{what}.{{}}={value}")
            raise ConfigError(f"unknown key {what}.{key}: {name} takes {known}{hint}")
        if not matches_type(value, hints[key]):
            finite = not isinstance(value, float) or math.isfinite(value)
            got = format_type(type(value)) if finite else "a number that is not finite"
            raise ConfigError(f"{what}.{key}={value}: got {got}, wanted {format_type(hints[key])}")
    for key, parameter in parameters.items():
        if key not in arguments and parameter.default is inspect.Parameter.empty:
            wanted = format_type(hints[key])
            raise ConfigError(f"{what}.{key} is missing: {name} wants {wanted} there; type {what}.{key}=VALUE")


def import_extra(module: str, extra: str, needed_by: str, instead: str = "") -> ModuleType:
    """Import a library that one of the package's extras brings. Raises `ConfigError` if it is not installed, or broken.

    `needed_by`: what was typed that needs it, `instead`: what does without it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError)
        wanted = f"needs {error.name}" if missing else f"needs {module}, which cannot be imported ({error})"
        install = f"type pip install 'lowres-ssl[{extra}]'" + (instead and f", or {instead}")
        raise ConfigError(f"{needed_by} {wanted}; {install}") from error


def matches_type(value: object, hint: Any) -> bool:
    """Whether `value` has the annotated type."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return any(matches_type(value, choice) for choice in inner)
    if kind is Literal:
        return value in inner
    if kind is list:
        return isinstance(value, list) and all(matches_type(each, inner[0]) for each in value)
    if kind is dict:
        return isinstance(value, dict) and all(
            matches_type(key, inner[0]) and matches_type(each, inner[1]) for key, each in value.items()
        )
    if kind is Any:
        return True
    if isinstance(value, bool):  # no number
        return kind is bool
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, kind)


def format_type(hint: Any) -> str:
    """Format an annotation in plain words."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return " or ".join(format_type(choice) for choice in inner)
    if kind is Literal:
        return "one of " + ", ".join(map(str, inner))
    if kind is list:
        return f"a list, each {format_type(inner[0])}" if inner else "a list"
    return TYPE_WORDS.get(kind, getattr(kind, "__name__", str(kind)))
