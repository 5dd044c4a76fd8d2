"""The short way of reading a body takes what the strict way takes, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.api import bodies
from apps.api.schemas.search import SearchBody
from apps.core.errors import DtRagError

ODD = st.sampled_from(
    [
        "x",
        "",
        " ",
        "a:b",
        "\x00",
        "가나",
        "\ud800",
        "5",
        5,
        5.0,
        5.5,
        0,
        51,
        True,
        None,
        [],
        {},
        ["x"],
    ]
)
NAMES = st.sampled_from(
    [*SearchBody.model_fields, "query", "max_results", "unknown", "filters", "min_score"]
)
PAIRS = st.lists(st.tuples(NAMES, ODD | st.floats() | st.integers()), max_size=5)


def body(pairs: list[tuple[str, object]]) -> bytes:
    """An object that may give a name twice."""
    inner = ",".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in pairs)
    return ('{"q": "question",' + inner + "}").replace(",}", "}").encode()


def read(raw: bytes, way: object) -> object:
    try:
        return way(raw, SearchBody)  # type: ignore[operator]
    except DtRagError as error:
        return type(error), error.detail


@given(PAIRS)
def test_both_ways_read_alike(pairs: list[tuple[str, object]]) -> None:
    """Values, refusals and their words."""
    raw = body(pairs)
    assert repr(read(raw, bodies.parse)) == repr(read(raw, bodies._strict))


@given(st.binary(max_size=40))
def test_bytes_that_are_anything(raw: bytes) -> None:
    """Not only JSON."""
    assert repr(read(raw, bodies.parse)) == repr(read(raw, bodies._strict))


@pytest.mark.parametrize(
    "raw", [b'{"q": "x"}', '{"q":"가","final_topk":5,"mode":"lexical"}'.encode()]
)
def test_a_plain_body_takes_the_short_way(raw: bytes) -> None:
    """Or it would be there for nothing."""
    assert bodies._flat(raw, SearchBody) == bodies._strict(raw, SearchBody)


def test_a_name_given_twice_never_does() -> None:
    """pydantic's parser would take the last of them."""
    assert bodies._flat(b'{"q": "x", "q": "y"}', SearchBody) is None


def test_nobody_reads_a_body_past_the_one_place() -> None:
    """A body comes once; the framework's own reader would wait for it a second time."""
    sources = (Path(bodies.__file__).parent).rglob("*.py")
    guilty = [
        path.name for path in sources if re.search(r"request\.(body|json)\(", path.read_text())
    ]
    assert guilty == []
