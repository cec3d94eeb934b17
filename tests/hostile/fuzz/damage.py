"""Stored files that are damaged, or were made to be: examples for the fuzzer."""

import copy
import json
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from lowres_ssl.io.checksummed_json import CHECKSUM_KEY, compute_checksum

ODD_TEXT = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            "../../x",
            "/etc/passwd",
            "${oc.env:HOME}",
            "=1+1",
            "<script>",
            "a" * 300,
            "\0",
            "\x1b[2J",
            "\ud800",
            "a\nb",
        ]
    ),
)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), ODD_TEXT, st.sampled_from([10**30, -1, 0])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(ODD_TEXT, inner, max_size=3)),
    max_leaves=5,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each value in a JSON document, the document itself left out."""
    if isinstance(document, dict):
        inner = list(document.items())
    elif isinstance(document, list):
        inner = list(enumerate(document[:3]))
    else:
        return [path]
    own = [path] if path else []
    return own + [each for key, value in inner for each in places(value, (*path, key))]


def changed(document: Any, path: tuple[Any, ...], value: Any, gone: bool) -> Any:
    """A copy of the document with another value at `path`, or none."""
    document = copy.deepcopy(document)
    *way, last = path
    node = document
    for key in way:
        node = node[key]
    if gone:
        del node[last]
    else:
        node[last] = value
    return document


def sealed_text(content: Any) -> bytes:
    """As text, with a seal that fits where there was one: somebody made it so, and readers look at what it says."""
    if isinstance(content, dict) and CHECKSUM_KEY in content:
        with suppress(ValueError):  # NaN, and half a letter, have none
            content = content | {CHECKSUM_KEY: compute_checksum(content)}
    return json.dumps(content).encode()


def damaged_json(document: Any) -> SearchStrategy[bytes]:
    """The document with one value changed or gone, sealed again; or its text, damaged."""
    text = json.dumps(document).encode()
    one_changed = st.builds(
        lambda path, value, gone: sealed_text(changed(document, path, value, gone)),
        st.sampled_from(places(document)),
        ANYTHING,
        st.booleans(),
    )
    return st.one_of(
        one_changed, one_changed, damaged_bytes(text), st.builds(lambda v: json.dumps(v).encode(), ANYTHING)
    )


def damaged_bytes(content: bytes) -> SearchStrategy[bytes]:
    """The content cut short, or with bytes changed, put in or taken out at a few places."""

    def edited(edits: list[tuple[int, int, bytes]]) -> bytes:
        damaged = bytearray(content)
        for place, removed, added in edits:
            damaged[place : place + removed] = added
        return bytes(damaged)

    size = len(content)
    place = st.one_of(st.integers(0, size), st.integers(0, min(size, 100)), st.integers(max(0, size - 100), size))
    edit = st.tuples(place, st.sampled_from([0, 1, 1, 1, 4, 64]), st.binary(max_size=8))
    return st.one_of(
        st.lists(edit, min_size=1, max_size=4).map(edited), st.integers(0, size).map(lambda end: content[:end])
    )
