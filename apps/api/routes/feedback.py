"""Feedback on answers; accepted means stored."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from apps.api import render
from apps.api.admission import caller_of
from apps.api.bodies import read_json, whole_body
from apps.api.idempotency import LOCAL_CALLER, once_only
from apps.api.operation import operation
from apps.api.routes.answer import IDEMPOTENCY_KEY
from apps.api.schemas.answer import AcceptedReply, FeedbackBody
from apps.api.services import services_of
from apps.api.store_ports import Opinion
from apps.core.telemetry import metrics

router = APIRouter(tags=["answer"])


@router.post(
    "/api/v1/feedback",
    **operation(
        "feedback",
        "Say what an answer was worth",
        body=FeedbackBody,
        reply=AcceptedReply,
        status=202,
        errors=(404, 409),
        examples={
            "stars": {"answer_id": "3f0c9d2e", "rating": 5, "comment": "정확합니다"},
            "thumb": {"answer_id": "3f0c9d2e", "thumbs_up": False},
        },
        extra={"parameters": [IDEMPOTENCY_KEY]},
    ),
)
async def feedback(request: Request) -> Response:
    """Store an opinion; a second one by the same caller replaces the first."""
    body = await read_json(request, FeedbackBody)
    services = services_of(request)
    opinion = Opinion(
        answer_id=body.answer_id,
        reward=body.reward_value(),
        rating=body.rating,
        thumbs_up=body.thumbs_up,
        comment=body.comment,
        labels=tuple(body.labels),
        created_at=services.clock.now(),
    )

    async def store() -> Response:
        answers = (await services.stores.get()).answers
        caller = caller_of(request).key_id or LOCAL_CALLER
        await answers.judge(opinion, caller=caller)
        metrics.feedback.of(_sign(opinion.reward)).inc()
        if (arms := services.arms.value) is not None:
            arms.feedback(await answers.exposed(opinion.answer_id), bad=opinion.reward < 0)
        return render.json_response({"accepted": True}, status=202)

    return await once_only(request, "feedback", await whole_body(request), store)


def _sign(reward: float) -> str:
    if reward == 0:
        return "neutral"
    return "positive" if reward > 0 else "negative"
