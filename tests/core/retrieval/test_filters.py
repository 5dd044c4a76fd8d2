"""No filter lets a passage through that it forbids: in the masks and in the last look."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.artifacts import rows
from apps.core.domain.models import Filters
from apps.core.retrieval import filters as wishes
from tests.fakes.passages import passage

PLACES = [
    passage("a", "가나", tags=("x",), category=("ai", "rag"), date="2024-01-31"),
    passage("b", "abc", tags=("x", "y"), category=("ai",), date="2024-02-01"),
    passage("c", "다라", category=("law",)),
    passage("d", "def", tags=("y",), category=("ai", "rag", "search"), date="not a date"),
]
FILTERS = st.builds(
    Filters,
    doc_ids=st.lists(st.sampled_from("abcz"), max_size=2).map(tuple),
    tags=st.lists(st.sampled_from("xyz"), max_size=2).map(tuple),
    canonical_in=st.lists(
        st.sampled_from([(), ("ai",), ("ai", "rag"), ("law",), ("a",)]), max_size=2
    ).map(tuple),
    language=st.sampled_from([None, "ko", "en"]),
    date_from=st.sampled_from([None, "2024-02-01", "2030-01-01"]),
    date_to=st.sampled_from([None, "2024-01-31", "2024-12-31"]),
)


@given(FILTERS)
def test_the_mask_and_the_last_look_agree(filters: Filters) -> None:
    """A row is in the mask exactly when its passage is admitted."""
    columns = rows.no_columns()
    for each in PLACES:
        rows.append(columns, each)
    mask = wishes.row_sets(columns).mask(filters)
    assert mask.tolist() == [wishes.admits(filters, each) for each in PLACES]


@pytest.mark.parametrize(
    ("filters", "admitted"),
    [
        (Filters(), "abcd"),
        (Filters(doc_ids=("a", "z")), "a"),
        (Filters(tags=("y",)), "bd"),
        (Filters(canonical_in=(("ai", "rag"),)), "ad"),
        (Filters(canonical_in=((),)), "abcd"),
        (Filters(canonical_in=(("a",),)), ""),
        (Filters(language="ko"), "ac"),
        (Filters(date_from="2024-02-01"), "b"),
        (Filters(date_to="2024-01-31"), "a"),
        (Filters(tags=("x",), language="en"), "b"),
    ],
)
def test_what_each_filter_admits(filters: Filters, admitted: str) -> None:
    """Values of a field are alternatives, fields must all hold, no date is outside every range."""
    found = [each.doc_id for each in PLACES if wishes.admits(filters, each)]
    assert "".join(found) == admitted


def test_a_dead_row_is_in_no_filter() -> None:
    """A deleted passage cannot come back through a mask."""
    columns = rows.no_columns()
    rows.append(columns, PLACES[0])
    rows.kill(columns, 0)
    assert not wishes.row_sets(columns).mask(Filters(language="ko")).any()
    assert np.array_equal(wishes.row_sets(columns).mask(Filters()), [True])
