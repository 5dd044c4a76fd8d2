"""A version that was changed after it was built is refused, with the name of the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from apps.core.artifacts import manifest as manifests
from apps.core.artifacts.manifest import LanguageMean, Manifest
from apps.core.errors import IndexNotReady


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A version of two files."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.npy").write_bytes(b"12345")
    (tmp_path / "sub" / "b").write_bytes(b"67890")
    card = Manifest("20200101_000000", 1.0, means={"ko": LanguageMean(2, (0.5, 0.25))})
    manifests.write(tmp_path, replace(card, files=manifests.sums(tmp_path)))
    return tmp_path


def test_a_card_is_read_as_it_was_written(directory: Path) -> None:
    """Reading gives the same values, and an intact version passes."""
    card = manifests.read(directory)
    assert card.means["ko"] == LanguageMean(2, [0.5, 0.25])  # type: ignore[arg-type]
    assert sorted(card.files) == ["a.npy", "sub/b"]
    manifests.verify(directory, card)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b"67891"), "checksum"),
        (lambda path: path.write_bytes(b"6789"), "length"),
        (lambda path: path.unlink(), "missing"),
    ],
)
def test_a_damaged_file_is_named(directory: Path, damage: object, reason: str) -> None:
    """A flipped bit, a cut file and a missing one are each refused by name."""
    card = manifests.read(directory)
    damage(directory / "sub" / "b")  # type: ignore[operator]
    with pytest.raises(IndexNotReady, match=rf"'sub/b'.*{reason}"):
        manifests.verify(directory, card)


@pytest.mark.parametrize("at", range(0, 400, 7))
def test_a_damaged_card_is_refused(directory: Path, at: int) -> None:
    """No changed byte of the card changes what is believed of the version."""
    path = directory / manifests.NAME
    body = bytearray(path.read_bytes())
    intact = manifests.read(directory)
    body[at % len(body)] ^= 1
    path.write_bytes(bytes(body))
    try:
        found = manifests.read(directory)
    except IndexNotReady as error:
        assert manifests.NAME in error.detail
    else:
        assert found == intact  # the byte was white space


def test_a_missing_card_is_refused(tmp_path: Path) -> None:
    """A directory without a card is not a version."""
    with pytest.raises(IndexNotReady, match=r"manifest\.json"):
        manifests.read(tmp_path)


@pytest.mark.parametrize("found", ["", "3"])
def test_a_version_of_another_format_is_refused(directory: Path, found: str) -> None:
    """What an older or a newer program wrote is not read, and the message says what helps."""
    path = directory / manifests.NAME
    body = orjson.loads(path.read_bytes())
    del body["sha256"], body["format"]
    if found:
        body["format"] = int(found)
    path.write_bytes(orjson.dumps({"sha256": manifests._seal(body), **body}))
    with pytest.raises(IndexNotReady, match=f"format {found or 1}, .* writes it anew"):
        manifests.read(directory)
