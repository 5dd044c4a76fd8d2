"""Reads a body from the wire and never holds more of it than was agreed."""

from __future__ import annotations

import zlib

from apps.core.errors import BadReply, TooLarge

GZIP = frozenset({"gzip", "x-gzip"})
GZIP_WINDOW = 16 + zlib.MAX_WBITS


def retry_after_s(said: str, *, most_s: float) -> float | None:
    """Seconds of a header `Retry-After`, at most so many; None for a date and all else."""
    return min(float(said), most_s) if said.isascii() and said.isdigit() else None


class Body:
    """Collects a body and unpacks it, never holding more than the limit.

    httpx would unpack each piece as a whole, and `gzip, gzip` twice: 64 KiB may become 64 GiB.
    """

    def __init__(self, encoding: str, max_bytes: int) -> None:
        word = encoding.strip().lower()
        if word not in GZIP | {"", "identity"}:
            raise BadReply("The server packs its reply in a way that nobody asked for.")
        self._unpack = zlib.decompressobj(GZIP_WINDOW) if word in GZIP else None
        self._max_bytes = max_bytes
        self._received = 0
        self._content = bytearray()

    def expect(self, length: str) -> None:
        """Refuse a body whose header already says that it is too large.

        Raises:
            TooLarge: it has more than the limit.
        """
        if length.isascii() and length.isdigit():
            self._refuse_over(int(length))

    def add(self, chunk: bytes) -> None:
        """Take the next bytes of the wire.

        Raises:
            TooLarge: they are more than the limit, packed or unpacked.
            BadReply: they cannot be unpacked.
        """
        self._received += len(chunk)
        self._refuse_over(self._received)
        self._content += self._unpacked(chunk)
        self._refuse_over(len(self._content))

    def finish(self) -> bytes:
        """The whole body.

        Raises:
            BadReply: it ended too early.
        """
        if self._unpack and (not self._unpack.eof or self._unpack.unused_data):
            raise BadReply("The reply of the server is damaged.")
        return bytes(self._content)

    def _unpacked(self, chunk: bytes) -> bytes:
        if self._unpack is None:
            return chunk
        try:
            return self._unpack.decompress(chunk, self._max_bytes - len(self._content) + 1)
        except zlib.error as error:
            raise BadReply("The reply of the server is damaged.") from error

    def _refuse_over(self, size: int) -> None:
        if size > self._max_bytes:
            raise TooLarge(f"The document has more than {self._max_bytes} bytes.")
