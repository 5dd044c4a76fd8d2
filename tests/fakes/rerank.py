"""A loopback rerank server that speaks both interfaces and fails on command.

It scores a passage by how many letter pairs of the question it holds; `python -m tests.fakes.rerank
9010 --last-first` runs one alone that likes the last passage best, so that its work can be seen.
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Scores = Callable[[str, Sequence[str]], Sequence[float]]
ENDLESS_PIECE = b" " * 65536


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def texts(self) -> list[str]:
        """The passages, in either interface."""
        found: list[str] = self.body.get("texts") or self.body["documents"]
        return found


def shared_pairs(question: str, texts: Sequence[str]) -> Sequence[float]:
    """How many pairs of neighbouring letters each text shares with the question."""
    wanted = {question[at : at + 2] for at in range(len(question) - 1)}
    return [float(sum(pair in text for pair in wanted)) for text in texts]


def last_first(_question: str, texts: Sequence[str]) -> Sequence[float]:
    """The last is best."""
    return [float(place) for place in range(len(texts))]


@dataclass(slots=True)
class FakeRerankServer:
    """Set `mode`, or `says` to answer with these very bytes; `then` lists modes for next calls.

    Modes: ok, a status as a number, hang, cut, endless, bomb (gzip), redirect.
    """

    mode: str = "ok"
    says: bytes | None = None
    then: list[str] = field(default_factory=list)
    scores: Scores = shared_pairs
    calls: list[Call] = field(default_factory=list)
    sent_bytes: int = 0
    _server: ThreadingHTTPServer | None = None
    _released: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self.open(0)
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def open(self, port: int) -> None:
        """Listen; 0 takes any port that is free."""
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))

    def serve(self) -> None:
        """Answer until the end."""
        assert self._server is not None
        self._server.serve_forever(poll_interval=0.01)

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, call: Call, handler: BaseHTTPRequestHandler) -> None:
        """Do what the mode says."""
        mode = self.then.pop(0) if self.then else self.mode
        if mode == "hang":
            self._released.wait()
        elif mode == "redirect":
            _send(handler, 307, b"", location=f"{self.url}/elsewhere")
        elif mode == "endless":
            self._pour(handler)
        elif mode == "bomb":
            _send(handler, 200, gzip.compress(b" " * (64 << 20)), content_encoding="gzip")
        elif mode == "cut":
            _send(handler, 200, self._ranked(call)[:-9], content_length="999")
        elif mode == "ok":
            _send(handler, 200, self._ranked(call))
        else:
            _send(handler, int(mode), b'{"error": "no"}')

    def _ranked(self, call: Call) -> bytes:
        if self.says is not None:
            return self.says
        scores = self.scores(call.body["query"], call.texts)
        name = "score" if "texts" in call.body else "relevance_score"
        rows = [{"index": place, name: score} for place, score in enumerate(scores)]
        rows.sort(key=lambda row: -row[name])
        return json.dumps(rows if "texts" in call.body else {"results": rows}).encode()

    def _pour(self, handler: BaseHTTPRequestHandler) -> None:
        """Send until the client leaves."""
        handler.send_response(200)
        handler.end_headers()
        while not self._released.is_set():
            handler.wfile.write(ENDLESS_PIECE)
            self.sent_bytes += len(ENDLESS_PIECE)


def _handler(fake: FakeRerankServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = Call(self.path, headers, json.loads(sent))
            fake.calls.append(call)
            try:
                fake.answer(call, self)
            except ConnectionError:  # the client has left
                return

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"content_length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def _main() -> None:
    fake = FakeRerankServer(scores=last_first if "--last-first" in sys.argv else shared_pairs)
    fake.open(int(sys.argv[1]) if len(sys.argv) > 1 else 9010)
    sys.stdout.write(f"DTRAG_RERANKER={fake.url}\n")
    sys.stdout.flush()
    fake.serve()


if __name__ == "__main__":
    try:
        _main()
    except KeyboardInterrupt:
        sys.exit(0)
