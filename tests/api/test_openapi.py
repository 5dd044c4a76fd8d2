"""The OpenAPI document says what the routes do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from apps.api.main import create_app
from apps.api.openapi import BODIES
from apps.api.operation import METHODS_OF_PAGE, PUBLIC, SCOPE
from apps.core.settings import Settings
from tests.fakes.services import World

PAGE = create_app(Settings()).openapi()
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, methods in PAGE["paths"].items()
    for method, operation in methods.items()
    if method in METHODS_OF_PAGE
]
MODELS: dict[str, type[BaseModel]] = {model.__name__: model for model in BODIES}


def references(node: object) -> Iterator[str]:
    """Every $ref below `node`."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere() -> None:
    """No schema is named that is not there."""
    for reference in references(PAGE):
        place: Any = PAGE
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_every_operation_is_told_in_full(name: str, operation: dict[str, Any]) -> None:
    """Summary, description, success and failures; a guarded one names 401, 403 and 429."""
    assert operation["summary"]
    assert operation["description"]
    statuses = set(operation["responses"])
    assert statuses & {"200", "201", "202"}
    assert {"500", "504"} <= statuses
    if operation[SCOPE] != PUBLIC:
        assert {"401", "403", "429", "503"} <= statuses
    for status, reply in operation["responses"].items():
        assert reply["description"]
        # OFREP has an error shape of its own for what its clients must tell apart.
        own = "/ofrep/" in name and status in {"400", "404"}
        if int(status) >= 400 and not own and not (status == "503" and operation[SCOPE] == PUBLIC):
            assert set(reply["content"]) == {"application/problem+json"}


def test_every_body_has_examples_that_are_accepted() -> None:
    """What the page suggests passes the model that the route uses."""
    checked = 0
    for name, operation in OPERATIONS:
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            continue
        model = MODELS[content["schema"]["$ref"].rsplit("/", 1)[-1]]
        assert content["examples"], name
        for example in content["examples"].values():
            model.model_validate(example["value"])
            checked += 1
    assert checked >= 15


def test_both_names_of_a_field_are_shown() -> None:
    """The page knows the dialect of document 002 and the plain one."""
    for model, pair in (("SearchBody", ("q", "query")), ("AnswerBody", ("question", "q"))):
        schema = PAGE["components"]["schemas"][model]
        assert set(pair) <= set(schema["properties"])
        assert schema["additionalProperties"] is False


def test_every_operation_that_decides_flags_tells_its_headers() -> None:
    """Answers and searches read `X-DTRAG-Flags` and `X-DTRAG-Synthetic`; nothing else does."""
    deciding = {
        f"POST /{'api/v1/' * nested}{name}" for name in ("answer", "search") for nested in (0, 1)
    }
    deciding |= {"POST /api/v1/pipeline/execute", "POST /api/v1/batch-search"}
    for name, operation in OPERATIONS:
        told = {each["name"] for each in operation.get("parameters", ())}
        expected = {"X-DTRAG-Flags", "X-DTRAG-Synthetic"} if name in deciding else set()
        assert {each for each in told if each.startswith("X-DTRAG")} == expected, name


async def test_the_document_is_served(client: httpx.AsyncClient, world: World) -> None:
    """The same document, as JSON."""
    reply = await client.get("/openapi.json")
    assert reply.json()["paths"].keys() == PAGE["paths"].keys()


def test_no_parameter_may_be_null() -> None:
    """A path, a query and a header hold text; what may be left out is not required."""
    schemas = [each["schema"] for _, made in OPERATIONS for each in made.get("parameters", ())]
    assert schemas
    assert not [each for each in schemas if "null" in str(each)]
