"""What an index version holds, with the checksum of each of its files and of itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from apps.core.domain.models import Language
from apps.core.errors import IndexNotReady

NAME = "manifest.json"
# Rises when files of a version change their meaning; 2: postings are flat columns of counts.
FORMAT = 2
PREFIX_RULE = "query: /passage: where the embedder asks for it"


@dataclass(frozen=True, slots=True)
class FileSum:
    """A file's SHA-256 and its length."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LanguageMean:
    """How many passages of a language have a vector, and the mean of those vectors."""

    vectors: int
    mean: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The card of a version.

    rows counts all lines of the row files, passages those that are alive. `embedder` is None
    when there are no vectors.
    """

    version: str
    created_at: float
    previous: str | None = None
    rows: int = 0
    passages: int = 0
    vectors: int = 0
    embedder: str | None = None
    dims: int = 0
    dtype: str = "float32"
    prefix_rule: str = PREFIX_RULE
    format: int = FORMAT
    means: Mapping[Language, LanguageMean] = field(default_factory=dict)
    files: Mapping[str, FileSum] = field(default_factory=dict)


def write(directory: Path, manifest: Manifest) -> None:
    """Write the card into `directory`."""
    body = asdict(manifest)
    sealed = {"sha256": _seal(body), **body}
    (directory / NAME).write_bytes(orjson.dumps(sealed, option=orjson.OPT_INDENT_2))


def read(directory: Path) -> Manifest:
    """Read the card of a version.

    Raises:
        IndexNotReady: it is missing or damaged, or another program's.
    """
    try:
        body = orjson.loads((directory / NAME).read_bytes())
        seal = body.pop("sha256")
        if seal != _seal(body):
            raise ValueError("the checksum differs")
        if body.setdefault("format", 1) != FORMAT:
            raise IndexNotReady(_other_format(directory, body["format"]))
        means = {name: LanguageMean(**mean) for name, mean in body.pop("means").items()}
        files = {name: FileSum(**entry) for name, entry in body.pop("files").items()}
        return Manifest(**body, means=means, files=files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise IndexNotReady(_damage(directory, NAME, str(error))) from error


def sums(directory: Path) -> dict[str, FileSum]:
    """Checksums of all files below `directory` but the card itself, by relative path."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != NAME)
    return {path.relative_to(directory).as_posix(): _sum(path) for path in paths}


def verify(directory: Path, manifest: Manifest) -> None:
    """Compare every file with the card; reads them all, about 1 ms a megabyte.

    Raises:
        IndexNotReady: with the name of the first file that is missing, cut or changed.
    """
    for name, expected in manifest.files.items():
        path = directory / name
        try:
            found = _sum(path) if path.stat().st_size == expected.size_bytes else None
        except OSError:
            raise IndexNotReady(_damage(directory, name, "it is missing")) from None
        if found is None:
            raise IndexNotReady(_damage(directory, name, "its length differs"))
        if found != expected:
            raise IndexNotReady(_damage(directory, name, "its checksum differs"))


def _sum(path: Path) -> FileSum:
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return FileSum(digest, path.stat().st_size)


def _seal(body: Mapping[str, object]) -> str:
    canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()


def _other_format(directory: Path, found: object) -> str:
    return (
        f"Index version {directory.name!r} has format {found}, this program reads {FORMAT}: the "
        "service writes it anew from the database when it starts."
    )


def _damage(directory: Path, name: str, reason: str) -> str:
    return f"Index version {directory.name!r}: file {name!r} is damaged ({reason})."
