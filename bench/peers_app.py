"""A FastAPI shell around one peer retriever; run inside the peers' own environment.

Usage: python peers_app.py NAME PASSAGES.jsonl PORT   (NAME: rank_bm25 | llamaindex | haystack)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

Search = Callable[[str, int], list[dict[str, object]]]


class Body(BaseModel):
    """The request that every contestant takes."""

    q: str
    final_topk: int = 5


def rank_bm25(rows: list[dict[str, str]]) -> Search:
    """LangChain's BM25Retriever over rank_bm25."""
    from langchain_community.retrievers import BM25Retriever

    retriever = BM25Retriever.from_texts(
        [row["text"] for row in rows], metadatas=[{"id": row["id"]} for row in rows]
    )

    def search(question: str, k: int) -> list[dict[str, object]]:
        retriever.k = k
        found = retriever.invoke(question)
        return [{"id": doc.metadata["id"], "text": doc.page_content} for doc in found]

    return search


def llamaindex(rows: list[dict[str, str]]) -> Search:
    """LlamaIndex's BM25Retriever over bm25s."""
    from llama_index.core.schema import TextNode
    from llama_index.retrievers.bm25 import BM25Retriever

    nodes = [TextNode(id_=row["id"], text=row["text"]) for row in rows]
    retriever = BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=5, skip_stemming=True)

    def search(question: str, k: int) -> list[dict[str, object]]:
        retriever.similarity_top_k = k
        return [{"id": hit.node.node_id, "text": hit.text} for hit in retriever.retrieve(question)]

    return search


def haystack(rows: list[dict[str, str]]) -> Search:
    """Haystack's in-memory BM25 retriever."""
    from haystack import Document
    from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    store = InMemoryDocumentStore()
    store.write_documents([Document(id=row["id"], content=row["text"]) for row in rows])
    retriever = InMemoryBM25Retriever(store)

    def search(question: str, k: int) -> list[dict[str, object]]:
        found = retriever.run(query=question, top_k=k)["documents"]
        return [{"id": doc.id, "text": doc.content} for doc in found]

    return search


PEERS = {"rank_bm25": rank_bm25, "llamaindex": llamaindex, "haystack": haystack}


def main() -> None:
    """Serve one peer on a loopback port."""
    name, path, port = sys.argv[1:4]
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    search = PEERS[name]([json.loads(line) for line in lines])
    app = FastAPI()

    @app.post("/search")
    def answer(body: Body) -> dict[str, object]:
        return {"hits": search(body.q, body.final_topk)}

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
