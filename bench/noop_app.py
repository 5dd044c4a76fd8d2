"""The floor: the same FastAPI shell, which reads a search body and does nothing with it."""

from __future__ import annotations

from fastapi import FastAPI, Response
from pydantic import BaseModel

app = FastAPI()
EMPTY = b'{"hits":[]}'


class Body(BaseModel):
    """The request that every contestant takes."""

    q: str
    final_topk: int = 5


@app.post("/search")
async def noop(body: Body) -> Response:
    """Parse, and answer a constant."""
    return Response(EMPTY, media_type="application/json")
