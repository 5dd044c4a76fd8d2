"""The OpenAPI page against the application: thousands of made requests, good and bad ones.

Each must be answered with a documented status, type and body, never with a failure of ours.
"""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import ServerError
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
)

from apps.api.main import create_app
from apps.core.domain.models import Document, SearchQuery, SearchResult
from apps.core.settings import Settings
from tests.fakes.searcher import FakeSearcher
from tests.fakes.services import World
from tests.fakes.stores import FakeKey

EXAMPLES_AN_OPERATION = 60
SEED = 20261121
CHOOSY = (
    "POST /answer",
    "POST /api/v1/answer",
    "POST /api/v1/pipeline/execute",
    "PUT /api/v1/admin/flags",
    "PATCH /api/v1/admin/flags",
    "POST /api/v1/admin/flags/import",
    "POST /ofrep/v1/evaluate/flags",
    "POST /api/v1/admin/rollouts",
    "POST /api/v1/admin/experiments",
)


class Broken(FakeSearcher):
    """The control: one value in ten divides by zero."""

    async def search(self, query: SearchQuery) -> SearchResult:
        _ = 1 // (query.top_k % 10 - 7)
        return await super().search(query)


def operations(world: World) -> list[APIOperation]:
    """Every operation of the page, ready to be called in this process."""
    world.stores.keys.rows["fuzz"] = FakeKey(id="fuzz", scopes=("admin",))
    world.stores.documents.rows["0"] = Document("0", "t", "text", "0" * 64, "ko", "txt")
    app = create_app(Settings(LOG_LEVEL="ERROR"), opening=world.opening)
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json", app, config=SchemathesisConfig(seed=SEED)
    )
    return [result.ok() for result in schema.get_all_operations()]


def call(case: Case) -> None:
    """Send one request with a key that may do everything, and check its reply."""
    # Every request carries a good key; `test_access` is about those that do not.
    excluded = [ignored_auth, unsupported_method]
    if case.media_type == "multipart/form-data":
        # In a form every field is text, so a number in place of a text is none.
        excluded.append(negative_data_rejection)
    if case.operation.label.startswith(CHOOSY):
        # No schema can say that a variant exists, that a rule compiles, which version is there,
        # that stages rise, or that `wait=false` of the address and `stream` of the body
        # exclude each other.
        excluded.append(positive_data_acceptance)
    if "/ofrep/" in case.operation.label:
        # It must answer 400 where the rest of the page answers 415 and 422.
        excluded.append(negative_data_rejection)
    case.call_and_validate(headers={"X-API-Key": "secret-fuzz"}, excluded_checks=excluded)


def fuzz(operation: APIOperation, examples: int) -> int:
    """Call an operation so often; the number of calls.

    Raises:
        FailureGroup: a reply was not as documented.
    """
    called = 0
    either = st.one_of(
        operation.as_strategy(GenerationMode.POSITIVE),
        operation.as_strategy(GenerationMode.NEGATIVE),
    )

    @hypothesis_settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=either)
    def run(case: Case) -> None:
        nonlocal called
        called += 1
        call(case)

    run()
    return called


@pytest.mark.slow
def test_every_made_request_is_answered_as_documented(sqlite_url: str) -> None:
    """More than a thousand requests, none of which meets a failure or an unknown status."""
    world = World(database_url=sqlite_url)
    called = sum(fuzz(each, EXAMPLES_AN_OPERATION) for each in operations(world))
    assert called >= 1000


@pytest.mark.slow
def test_a_planted_fault_is_found() -> None:
    """The control: were the fuzz too weak, it would miss one value in ten that divides by zero."""
    world = World(searcher=Broken())
    (search,) = (each for each in operations(world) if each.label == "POST /api/v1/search")
    with pytest.raises(FailureGroup) as found:
        fuzz(search, 1000)
    assert any(isinstance(each, ServerError) for each in found.value.exceptions)
