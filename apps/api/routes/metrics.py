"""Metrics: Prometheus' text, or the same figures as JSON."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from apps.api import render
from apps.api.admission import METRICS
from apps.api.operation import operation
from apps.api.schemas.metrics import MetricsReply
from apps.api.services import services_of
from apps.core.telemetry import metrics

TEXT = operation(METRICS, "Metrics", reply=MetricsReply, errors=(422,))
TEXT["responses"][200] = {"content": {"text/plain": {"schema": {"type": "string"}}}}
router = APIRouter(tags=["health"])


@router.get("/metrics", **TEXT)
async def scrape(
    request: Request,
    form: Annotated[Literal["prometheus", "json"] | None, Query(alias="format")] = None,
) -> Response:
    """Text for Prometheus; JSON with `?format=json` or `Accept: application/json`."""
    request.scope["app"].records.flush()
    _gauge(request)
    as_json = render.JSON_TYPE in request.headers.get("accept", "") if form is None else None
    if form == "json" or as_json:
        return render.json_response({"metrics": families()})
    return Response(metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})


def families() -> list[dict[str, object]]:
    """Every metric with its samples."""
    metrics.sample_process()
    return [
        {
            "name": family.name,
            "type": family.type,
            "help": family.documentation,
            "samples": [
                {"name": sample.name, "labels": sample.labels, "value": sample.value}
                for sample in family.samples
            ],
        }
        for family in metrics.registry().collect()
    ]


def _gauge(request: Request) -> None:
    index = services_of(request).index
    metrics.index_version.set(index.version)
    metrics.index_passages.set(index.passages)
    metrics.index_vectors.set(index.vectors)
