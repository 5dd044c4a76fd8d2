"""The error tree, its picture, and the page that explains it are the same tree."""

from __future__ import annotations

import re
from pathlib import Path

from apps.core import errors
from apps.core.errors import DtRagError

PAGE = (Path(__file__).parents[2] / "docs/errors.md").read_text(encoding="utf-8")
LINE = re.compile(r"^[│├└─ ]*(\w+) +(\d{3}) +(\w+) +(yes|no)$", re.MULTILINE)


def family(kind: type[DtRagError]) -> list[type[DtRagError]]:
    """Every error below `kind`, in the order of the code."""
    below = [kind.__subclasses__()]
    return [found for group in below for child in group for found in (child, *family(child))]


def drawn(text: str) -> list[tuple[str, int, str, bool]]:
    """What a drawing of the tree says of each error."""
    return [
        (name, int(status), code, word == "yes") for name, status, code, word in LINE.findall(text)
    ]


def real() -> list[tuple[str, int, str, bool]]:
    """What the classes say of themselves."""
    return [(kind.__name__, kind.status, kind.code, kind.retryable) for kind in family(DtRagError)]


def test_the_picture_at_the_top_of_the_module_is_true() -> None:
    """Each class is drawn with its status, code and advice, and nothing else is."""
    assert sorted(drawn(errors.__doc__ or "")) == sorted(real())


def test_the_page_shows_the_same_picture() -> None:
    """`docs/errors.md` repeats the drawing to the letter."""
    picture = (errors.__doc__ or "").split("\n\n")[1]
    assert picture in PAGE


def test_the_page_explains_every_code_once() -> None:
    """Each code has one row with its status."""
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", PAGE, re.MULTILINE)
    assert sorted((code, int(status)) for code, status in rows) == sorted(
        (kind.code, kind.status) for kind in family(DtRagError)
    )


def test_codes_are_unique() -> None:
    """A client can tell every error by its code."""
    codes = [kind.code for kind in family(DtRagError)]
    assert len(codes) == len(set(codes))


def test_a_child_is_drawn_below_its_parent() -> None:
    """The indentation is the inheritance."""
    stack: list[str] = []
    for line in (errors.__doc__ or "").split("\n\n")[1].splitlines()[1:]:
        match = LINE.match(line)
        assert match, line
        depth = line.index(match[1]) // 4
        stack[depth - 1 :] = [match[1]]
        parent = "DtRagError" if depth == 1 else stack[depth - 2]
        assert getattr(errors, match[1]).__base__.__name__ == parent


def test_an_error_keeps_its_facts() -> None:
    """Detail and advice travel with the error."""
    error = errors.LimitReached("Too many.", retry_after_s=2.5)
    assert (str(error), error.detail, error.retry_after_s) == ("Too many.", "Too many.", 2.5)
