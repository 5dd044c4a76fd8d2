"""What all bodies share: strictness, harmless text, two names for one field."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

# PostgreSQL stores no NUL in text; elsewhere it only serves attacks.
NO_NUL = r"^[^\x00]*$"
# At least one character that can be seen.
VISIBLE = r"^[^\x00]*[^\s\x00][^\x00]*$"

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=VISIBLE)]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=NO_NUL)]


def _whole(value: object) -> object:
    # JSON has one kind of number: 5.0 is the integer 5, and JSON Schema says so too.
    return int(value) if isinstance(value, float) and value.is_integer() else value


# The last word of an annotation, or the page would not show the bounds.
WHOLE = BeforeValidator(_whole)


def _real_date(value: str) -> str:
    date.fromisoformat(value)
    return value


IsoDate = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
    AfterValidator(_real_date),
    Field(json_schema_extra={"format": "date"}),
]


class Request(BaseModel):
    """A body that we take: unknown names and wrong types are refused, never bent."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class Reply(BaseModel):
    """A body that we give."""

    model_config = ConfigDict(frozen=True)


def either_name(**aliases: tuple[str, ...]) -> Any:
    """Show in the JSON schema that a field may come under another name.

    Args:
        aliases: canonical name to its other names, of which exactly one may be given.
    """

    def extend(schema: dict[str, Any]) -> None:
        properties, required = schema["properties"], schema.get("required", [])
        rules: list[dict[str, Any]] = []
        for name, others in aliases.items():
            names = (name, *others)
            for other in others:
                properties[other] = {**properties[name], "description": f"The same as `{name}`."}
            once: list[dict[str, Any]] = [{"required": [each]} for each in names]
            if name in required:
                required.remove(name)
            else:
                once.append({"not": {"anyOf": [{"required": [each]} for each in names]}})
            rules.append({"oneOf": once})
        schema["allOf"] = rules
        if not required:
            schema.pop("required", None)

    return extend


class Fault(Reply):
    """One place of a flag definition that cannot be used."""

    pointer: str = Field(examples=["/targeting/fractional/0"], description="RFC 6901.")
    problem: str


class Problem(Reply):
    """A failure, in one shape everywhere (RFC 9457)."""

    type: str = Field(examples=["urn:dtrag:error:validation_error"])
    title: str = Field(examples=["Unprocessable Entity"])
    status: int = Field(examples=[422])
    code: str = Field(examples=["validation_error"])
    detail: str = Field(examples=["final_topk: Input should be less than or equal to 50"])
    request_id: str = Field(examples=["5f0c6f0e6f1b4c7e9a55d2a1c4c1f9b2"])
    retryable: bool = Field(examples=[False])
    pointer: str | None = Field(None, description="Of the first fault of a flag definition.")
    faults: list[Fault] | None = Field(None, description="All faults of a flag definition.")
    blocked_by: str | None = Field(None, examples=["env:FEATURE_DEBATE_MODE=false"])
    hosts: list[str] | None = Field(None, description="That reported what blocks.")
    blockers: list[str] | None = Field(None, description="What is missing for the next step.")
