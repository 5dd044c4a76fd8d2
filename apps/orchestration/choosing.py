"""What flags mean for writing an answer: in which words a model is asked, and which one first.

`answer_prompt` and `chat_model` are flags of words that exist when an operator defines them, e.g.
to try variants in an experiment; without them nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from apps.orchestration.models import ChainedModel, ModelChain
from apps.orchestration.node import RunContext
from apps.orchestration.prompts import TEMPLATES
from apps.orchestration.state import AnswerState

ANSWER_PROMPT, CHAT_MODEL = "answer_prompt", "chat_model"
COMPOSE, ORDINARY = "compose", "answer"
WORDINGS = frozenset(
    role
    for node, _, role in (name.partition(".") for name, _ in TEMPLATES)
    if node == COMPOSE and (role == ORDINARY or role.startswith(f"{ORDINARY}_"))
)
"""Values of `answer_prompt`: a file `compose.<value>.<language>.md` each, one language beside the
other."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How a request asks its models.

    prompt: `<node>.<role>`.
    models: best first.
    degraded: flags whose value was not followed: it is unknown here, or the flag was just killed.
    """

    prompt: str
    models: tuple[ChainedModel, ...]
    degraded: tuple[str, ...]


def choice(state: AnswerState, ctx: RunContext) -> Choice:
    """Follow the flags that have a say here, and let their arms be met."""
    mode, refused = state["mode"], []
    role, models = str(mode), tuple(ctx.models)
    if mode == ORDINARY and (word := _word(ANSWER_PROMPT, state, ctx)) is not None:
        role = word if word in WORDINGS else ORDINARY
        refused += [] if word in WORDINGS else [ANSWER_PROMPT]
    if (name := _word(CHAT_MODEL, state, ctx)) is not None:
        models = led_by(ctx.models, name)
        refused += [] if models[0].name == name else [CHAT_MODEL]
    return Choice(f"{COMPOSE}.{role}", models, tuple(refused))


def led_by(chain: ModelChain, name: str) -> tuple[ChainedModel, ...]:
    """The chain with one model moved to its front; as it is when it has no such model."""
    return tuple(sorted(chain, key=lambda model: model.name != name))


def _word(key: str, state: AnswerState, ctx: RunContext) -> str | None:
    """What a flag wants; "" is a wish that nobody can follow, None is none."""
    made = state["decisions"].get(key)
    if made is None or not made.active:
        return None
    # As at a node's gate: who is killed now is not met, whatever was decided when the request came.
    if ctx.killed(key):
        return ""
    ctx.exposed(key, COMPOSE)
    return made.value if isinstance(made.value, str) else ""
