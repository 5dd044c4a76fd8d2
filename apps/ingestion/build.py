"""Stored chunks into a new index version: aside from the served one, then switched.

A version is the one before it, extended: dead rows stay as gaps, new rows follow, and lexical files
that do not change are hard links. When more than `DEAD_SHARE` of the rows are gaps, the version is
written anew. Only one process builds at a time; a builder that is killed leaves a partial
directory, which means nothing and is swept by the next one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from apps.core.artifacts import manifest as manifests
from apps.core.artifacts import rows as row_files
from apps.core.artifacts import vectors as vector_files
from apps.core.artifacts import versions
from apps.core.artifacts.manifest import Manifest
from apps.core.artifacts.rows import DEAD, Columns, Rows
from apps.core.domain.models import Passage
from apps.core.domain.ports import FloatArray
from apps.core.errors import IndexNotReady, Unprocessable
from apps.core.retrieval import dense, grains, ivf
from apps.core.retrieval.index import LEXICAL
from apps.core.retrieval.options import SearchOptions

DEAD_SHARE = 0.3
FAISS_ABOVE = SearchOptions().faiss_above
NO_VECTORS: FloatArray = np.zeros((0, 0), np.float32)


@dataclass(frozen=True, slots=True)
class IndexRow:
    """A passage to be indexed, with its unit vector when it has one already."""

    passage: Passage
    vector: FloatArray | None


@dataclass(frozen=True, slots=True)
class _Previous:
    """The version that is extended; `directory` None when there is none."""

    directory: Path | None
    manifest: Manifest
    rows: Rows | None
    matrix: FloatArray


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the new version holds.

    kept: rows of the previous version to carry over, in order; None where a row is a gap.
    old: their vectors, one a kept row. Both keep their row numbers. `added` follow them.
    vectors: new vectors by row of the new version.
    """

    kept: list[int | None]
    old: FloatArray
    added: Sequence[Passage]
    removed: Collection[str]
    vectors: Mapping[int, FloatArray]
    embedder: str | None
    linked: bool


def publish(
    root: Path,
    *,
    added: Sequence[IndexRow],
    removed_doc_ids: Collection[str] = (),
    embedder_id: str | None,
    full: bool = False,
    now: float,
) -> str:
    """Publish a version in which `added` replace whatever their documents had.

    Safe to repeat: documents of `added` and `removed_doc_ids` leave the index first.

    Args:
        root: where versions live; made when it is missing.
        added: passages, all passages of a document together.
        removed_doc_ids: documents that vanish.
        embedder_id: whose vectors `added` carry; another one than before drops the old vectors.
        full: the version holds `added` only, whatever was there before.
        now: seconds since 1970, for the version's name.

    Returns:
        The id of the served version; nothing is built when nothing changes.

    Raises:
        IndexNotReady: the version to extend is damaged; `full` still works.
    """
    with versions.exclusive(root):
        previous = _nothing() if full else _previous(root)
        gone = {row.passage.doc_id for row in added} | set(removed_doc_ids)
        if previous.directory and not added and not _hit(previous, gone):
            return previous.manifest.version
        plan = _planned(previous, added, gone, embedder_id)
        return _build(root, previous, plan, now)


def set_vectors(
    root: Path, vectors: Mapping[str, FloatArray], *, embedder_id: str, now: float
) -> str:
    """Publish a version in which these indexed chunks have vectors; unknown chunks are ignored.

    Raises:
        IndexNotReady: nothing is published yet, or the served version is damaged.
    """
    with versions.exclusive(root):
        previous = _previous(root)
        if previous.rows is None:
            raise IndexNotReady("No index version is published yet.")
        row_of = previous.rows.row_of
        found = {row_of[chunk]: vector for chunk, vector in vectors.items() if chunk in row_of}
        if not found:
            return previous.manifest.version
        plan = _planned(previous, (), set(), embedder_id)
        return _build(root, previous, replace(plan, vectors=_checked(found, plan.old)), now)


def _nothing() -> _Previous:
    return _Previous(None, Manifest("", 0.0), None, NO_VECTORS)


def _previous(root: Path) -> _Previous:
    name = versions.latest(root)
    if name is None:
        return _nothing()
    directory = root / name
    manifest = manifests.read(directory)
    manifests.verify(directory, manifest)
    rows = row_files.open_rows(directory, name)
    return _Previous(directory, manifest, rows, vector_files.open_matrix(directory, name))


def _hit(previous: _Previous, gone: set[str]) -> bool:
    return previous.rows is not None and not gone.isdisjoint(previous.rows.columns["doc_id"])


def _planned(
    previous: _Previous, added: Sequence[IndexRow], gone: set[str], embedder_id: str | None
) -> _Plan:
    columns = previous.rows.columns if previous.rows else row_files.no_columns()
    kept = [
        row if chunk is not None and doc_id not in gone else None
        for row, (chunk, doc_id) in enumerate(
            zip(columns["chunk_id"], columns["doc_id"], strict=True)
        )
    ]
    linked = previous.directory is not None and kept.count(None) <= DEAD_SHARE * len(kept)
    if not linked:
        kept = [row for row in kept if row is not None]
    same = embedder_id in (None, previous.manifest.embedder)
    old = previous.matrix if same else NO_VECTORS
    if old.shape[1]:
        old = old if linked else old[[row for row in kept if row is not None]]
    fresh = {
        len(kept) + number: row.vector
        for number, row in enumerate(added)
        if row.vector is not None and embedder_id is not None
    }
    embedder = previous.manifest.embedder if same else embedder_id
    plan = _Plan(
        kept, old, [row.passage for row in added], gone, {}, embedder or embedder_id, linked
    )
    return replace(plan, vectors=_checked(fresh, old))


def _checked(vectors: Mapping[int, FloatArray], old: FloatArray) -> dict[int, FloatArray]:
    lengths = {vector.shape for vector in vectors.values()}
    if old.shape[1]:
        lengths.add((old.shape[1],))
    if len(lengths) > 1:
        raise Unprocessable(f"Vectors of different lengths cannot share an index: {lengths}.")
    return {row: np.asarray(vector, np.float32) for row, vector in vectors.items()}


def _build(root: Path, previous: _Previous, plan: _Plan, now: float) -> str:
    version = versions.next_version(root, now)
    partial = versions.start(root, version)
    columns = _write_rows(partial, version, previous, plan)
    _write_lexical(partial / LEXICAL, previous, plan)
    manifest = _write_vectors(partial, version, plan, columns)
    manifest = replace(
        manifest,
        created_at=now,
        previous=previous.manifest.version or versions.latest(root),
        files=manifests.sums(partial),
    )
    manifests.write(partial, manifest)
    versions.finish(root, partial)
    manifests.verify(root / version, manifests.read(root / version))
    versions.switch(root, version)
    versions.prune(root)
    return version


def _write_rows(partial: Path, version: str, previous: _Previous, plan: _Plan) -> Columns:
    columns = row_files.no_columns()
    if previous.rows is not None:
        before = previous.rows.columns
        source = range(len(plan.kept)) if plan.linked else plan.kept
        chosen = [row for row in source if row is not None]
        columns = Columns(
            chunk_id=[before["chunk_id"][row] for row in chosen],
            doc_id=[before["doc_id"][row] for row in chosen],
            language=[before["language"][row] for row in chosen],
            date=[before["date"][row] for row in chosen],
            tags=[before["tags"][row] for row in chosen],
            category=[before["category"][row] for row in chosen],
        )
        for row, origin in enumerate(plan.kept):
            if origin is None:
                row_files.kill(columns, row)
    for passage in plan.added:
        row_files.append(columns, passage)
    row_files.write(partial, version, _lines(previous, plan), columns)
    return columns


def _lines(previous: _Previous, plan: _Plan) -> Iterator[bytes]:
    for origin in plan.kept:
        yield DEAD if origin is None or previous.rows is None else previous.rows.line(origin)
    for passage in plan.added:
        yield row_files.encode(passage)


def _write_lexical(target: Path, previous: _Previous, plan: _Plan) -> None:
    if plan.linked and previous.directory is not None:
        source = previous.directory / LEXICAL
        if not (plan.added or plan.removed):
            shutil.copytree(source, target, copy_function=_link)
            return
        gone = np.array([origin is None for origin in plan.kept], np.bool_)
        grains.write(target, grains.extended(grains.read(source), plan.added, gone))
        return
    rows = previous.rows
    carried = [rows.passage(origin) for origin in plan.kept if origin is not None and rows]
    none = np.zeros(0, np.bool_)
    grains.write(target, grains.extended(grains.NOTHING, [*carried, *plan.added], none))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _write_vectors(partial: Path, version: str, plan: _Plan, columns: Columns) -> Manifest:
    rows = len(columns["chunk_id"])
    gaps = [row for row, origin in enumerate(plan.kept) if origin is None]
    dims = plan.old.shape[1]
    new = {row: np.zeros(dims, np.float32) for row in gaps if dims} | dict(plan.vectors)
    matrix = vector_files.write(partial, version, old=plan.old, rows=rows, new=new)
    means = vector_files.means(matrix, columns["language"])
    total = sum(found.vectors for found in means.values())
    if total > FAISS_ABOVE:
        ivf.build(
            partial / f"ivf-{version}.faiss", *dense.centred(matrix, columns["language"], means)
        )
    return Manifest(
        version=version,
        created_at=0.0,
        rows=rows,
        passages=rows - len(gaps),
        vectors=total,
        embedder=plan.embedder if total else None,
        dims=matrix.shape[1] if total else 0,
        means=means,
    )
