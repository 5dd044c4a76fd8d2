"""`dtrag ingest`: put files and folders into the index, with a progress bar."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.database import open_storage
from apps.cli.output import Told, console, errors, machine, progress, table, told_plainly
from apps.core.errors import TooLarge, UserFailure
from apps.core.settings import Settings, load

if TYPE_CHECKING:
    from apps.ingestion.items import ItemView, JobView, NewItem
    from apps.ingestion.service import Ingestion

POLL_S = 0.1
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@told_plainly()
def ingest(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Files or folders.")],
    tags: Annotated[str, typer.Option(help="Comma-separated tags for all of them.")] = "",
    wait_vectors: Annotated[
        bool, typer.Option("--wait-vectors", help="Stay until every vector is there.")
    ] = False,
    json: Json = False,
) -> None:
    """Read documents and make them searchable; vectors join while the service runs."""
    settings = load()
    listed = tuple(part.strip() for part in tags.split(",") if part.strip())
    items, left = _taken(paths, listed, max_bytes=settings.MAX_UPLOAD_BYTES)
    if left and not items:
        raise TooLarge(f"{left[0].name}: {left[0].error}")
    with progress("Reading documents", quiet=json) as told:
        view = asyncio.run(ingested(settings, items, told, wait_vectors=wait_vectors))
    view = _with(view, left)
    files = sum(view.counts.values())
    failed = [item for item in view.items if item.state == "failed"]
    if json:
        machine(asdict(view))
    else:
        counts = ", ".join(f"{count} {state}" for state, count in view.counts.items() if count)
        console.print(f"{counts} of {files} file{'s' * (files != 1)}")
        if failed:
            table(["failed", "code", "reason"], [(i.name, i.error_code, i.error) for i in failed])
    if failed or view.state == "failed":
        errors.print(view.error or f"{view.counts['failed']} of {files} could not be read")
        raise typer.Exit(1)


async def ingested(
    settings: Settings, items: Sequence[NewItem], told: Told, *, wait_vectors: bool = False
) -> JobView:
    """Submit `items` and work on the queue until their job has ended."""
    from apps.core.wiring import SystemClock, open_embedder  # noqa: PLC0415 - numpy and more
    from apps.ingestion.wiring import open_ingestion  # noqa: PLC0415

    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(open_storage(settings))
        service = await stack.enter_async_context(
            open_ingestion(
                settings, storage=storage, embedder=open_embedder(settings), clock=SystemClock()
            )
        )
        worker = asyncio.create_task(service.run_forever())
        try:
            view = await _watched(service, await service.submit(items), told)
            if wait_vectors:
                await service.drain()
            return view
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)


async def _watched(service: Ingestion, job_id: str, told: Told) -> JobView:
    while True:
        view = await service.job(job_id)
        if view is None:
            raise UserFailure(f"There is no job {job_id!r}.")
        told(view.finished, view.total)
        if view.state in ("done", "failed"):
            return view
        await asyncio.sleep(POLL_S)


def _with(view: JobView, left: Sequence[ItemView]) -> JobView:
    counts = {**view.counts, "failed": view.counts["failed"] + len(left)}
    return replace(view, items=(*left, *view.items), counts=counts)


def _taken(
    paths: Sequence[Path], tags: tuple[str, ...], *, max_bytes: int
) -> tuple[list[NewItem], list[ItemView]]:
    """The files to hand in, and those that cannot be, which must not keep the others out."""
    from apps.ingestion.items import ItemMeta, ItemView, NewItem  # noqa: PLC0415 - slow `--help`

    items, left = [], []
    for name, file in _files(paths):
        if file.stat().st_size > max_bytes:
            reason = f"A file may have {max_bytes} bytes at most."
            left.append(ItemView(name, "failed", (), TooLarge.code, reason))
            continue
        try:
            items.append(NewItem(name, file.read_bytes(), ItemMeta(tags=tags)))
        except OSError as error:
            left.append(ItemView(name, "failed", (), UserFailure.code, str(error.strerror)))
    return items, left


def _files(paths: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Each file and its name below what was given; what is hidden is left out, as `.git`."""
    for path in paths:
        root = path if path.is_dir() else path.parent
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            name = file.relative_to(root)
            hidden = path.is_dir() and any(part.startswith(".") for part in name.parts)
            if file.is_file() and not hidden:
                yield str(name), file
