"""A draft falls into the same claims however it is cut into pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from apps.orchestration.claims import Claim, ClaimReader, claims


def read(text: str) -> list[tuple[str, tuple[int, ...]]]:
    return [(one.text, one.cited) for one in claims(text)]


def test_marks_belong_to_the_sentence_before_them() -> None:
    """Before or after the full stop, alone or several."""
    assert read("첫째다. [1] 둘째다 [2]. Third [1][3]. Fourth [1, 2].") == [
        ("첫째다.", (1,)),
        ("둘째다.", (2,)),
        ("Third.", (1, 3)),
        ("Fourth.", (1, 2)),
    ]


def test_a_sentence_without_marks_has_none() -> None:
    """It is told apart from its neighbour."""
    assert read("서론이다. 본론이다 [1]") == [("서론이다.", ()), ("본론이다", (1,))]


def test_bullets_are_layout() -> None:
    """The bullet is kept as the lead of its claim."""
    found = list(claims("- 하나다 [1]\n- 둘이다 [2]"))
    assert [(one.lead.strip(), one.text) for one in found] == [("-", "하나다"), ("-", "둘이다")]
    assert "\n" in found[1].lead


def test_what_says_nothing_is_no_claim() -> None:
    """Marks and lines without a letter vanish."""
    assert read("[1] --- \n [2]") == []


def test_a_claim_is_handed_out_when_the_next_begins() -> None:
    """Its marks may still be on their way."""
    reader = ClaimReader()
    assert reader.feed("하나다. [1") == []
    assert reader.feed("]") == []
    assert reader.feed(" 둘") == [Claim("", "하나다.", (1,))]
    assert [one.text for one in reader.close()] == ["둘"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["하나다", "둘은 2.5 %다", "It is so", "A b"]),
            st.sampled_from([". [1] ", " [2]. ", "[1][2]\n", ". ", " [1, 3].\n- "]),
        ),
        max_size=5,
    ),
    st.integers(min_value=1, max_value=7),
)
def test_pieces_do_not_matter(parts: list[tuple[str, str]], size: int) -> None:
    """Fed by pieces of any size the texts and their citations are the same as at once."""
    text = "".join(map("".join, parts))
    reader = ClaimReader()
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    found = [one for piece in pieces for one in reader.feed(piece)] + reader.close()
    assert [(one.text, one.cited) for one in found] == read(text)
