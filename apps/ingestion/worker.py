"""The process in which files are read: `python -m apps.ingestion.worker FD`, started by `parse`.

It serves one request after another over an inherited socket and dies alone when a file makes a
parser crash, loop or swallow memory. Requests are a JSON line and the file; replies are JSON:
nothing that a broken parser sends can become code in the service.
"""

from __future__ import annotations

import resource
import sys
from dataclasses import asdict
from multiprocessing.connection import Connection

import orjson

from apps.core.errors import DtRagError
from apps.ingestion.parse import READY
from apps.ingestion.readers.reader import read_clean
from apps.ingestion.readers.registry import reader_of
from apps.ingestion.sniff import sniff


def serve(connection: Connection, cpu_s: int) -> None:
    """Answer requests until the other side hangs up."""
    connection.send_bytes(READY)
    while True:
        try:
            request = connection.recv_bytes()
        except EOFError:
            return
        _allow_cpu(cpu_s)
        header, _, content = request.partition(b"\n")
        connection.send_bytes(orjson.dumps(_answer(orjson.loads(header), content)))


def _answer(header: dict[str, str | None], content: bytes) -> dict[str, object]:
    try:
        name = header["format"] or sniff(header["name"] or "", content)
        documents = read_clean(reader_of(name), content)
    except DtRagError as error:
        return {"error": type(error).__name__, "detail": error.detail}
    except MemoryError:
        return {"error": "Unprocessable", "detail": "The file needs too much memory to be read."}
    # A parser may raise anything on a broken file; this process is the gate around it.
    except Exception as error:
        detail = f"The file is damaged: its parser failed with {type(error).__name__}."
        return {"error": "Unprocessable", "detail": detail}
    return {"format": name, "documents": [asdict(document) for document in documents]}


def _allow_cpu(seconds: int) -> None:
    """Give this request its own share; the limit of the system counts the whole process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = usage.ru_utime + usage.ru_stime
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + seconds + 1, resource.RLIM_INFINITY))


def main() -> None:
    """Limit this process, then serve."""
    descriptor, memory_bytes, cpu_s = map(int, sys.argv[1:4])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with Connection(descriptor) as connection:
        serve(connection, cpu_s)


if __name__ == "__main__":
    main()
