"""OFREP over a real socket: import by REST, evaluate as an OpenFeature client of any language.

The examples are those of the engine's own tests, in the form of flagd's public test bed.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
import uvicorn

from apps.api.main import create_app
from apps.core.settings import Settings
from tests.core.flags.gherkin import READ, Evaluator, Example, examples, run_with
from tests.fakes.services import World

TESTBED = Path(__file__).parents[1] / "core/flags/testbed"
EXAMPLES = [each for path in sorted(TESTBED.glob("*.feature")) for each in examples(path)]
ROOT = "/ofrep/v1/evaluate/flags"


@dataclass(frozen=True)
class Resolved:
    """What an OpenFeature client makes of a reply."""

    value: object
    reason: str | None
    variant: str | None
    error_code: str | None = None
    flag_metadata: Mapping[str, object] = field(default_factory=dict)


def resolved(reply: httpx.Response, kind: str, fallback: object) -> Resolved:
    """As the SDKs do: the fallback without a value, for an error, and for another kind."""
    body = reply.json()
    if "errorCode" in body:
        return Resolved(fallback, "ERROR", None, body["errorCode"])
    value = body.get("value", fallback)
    wanted = READ[kind]("{}") if kind == "Object" else READ[kind]("0")
    if kind == "Float" and type(value) is int:
        value = float(value)
    if type(value) is not type(wanted):
        return Resolved(fallback, "ERROR", None, "TYPE_MISMATCH")
    told = body["metadata"]
    return Resolved(value, body["reason"], body.get("variant"), flag_metadata=told)


@dataclass
class Remote(Evaluator):
    """The same steps, through HTTP."""

    client: httpx.Client | None = None

    def evaluate(self) -> None:
        assert self.client is not None
        context = {"targetingKey": self.targeting_key, **self.attributes}
        reply = self.client.post(f"{ROOT}/{self.key}", json={"context": context})
        assert reply.status_code in {200, 400, 404}
        self.result = resolved(reply, self.kind, self.fallback)  # type: ignore[assignment]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server with the examples' flags."""
    from apps.core.storage import migrate

    url = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('ofrep')}/dtrag.db"
    migrate.upgrade(url)
    world = World(database_url=url)
    secret = world.stores.keys.add("flags:read", "flags:write")
    app = create_app(Settings(LOG_LEVEL="ERROR"), opening=world.opening)
    config = uvicorn.Config(app, port=0, log_level="error", lifespan="on")
    with serving(uvicorn.Server(config)) as base, httpx.Client(base_url=base) as opened:
        opened.headers["X-API-Key"] = secret
        document = json.loads((TESTBED / "flags.json").read_bytes())
        done = opened.post("/api/v1/admin/flags/import?mode=replace", json=document)
        assert done.status_code == 200, done.text
        yield opened


class serving:
    """A server in a thread; gives its address when it listens."""

    def __init__(self, server: uvicorn.Server) -> None:
        self.server = server
        self.thread = threading.Thread(target=server.run, daemon=True)

    def __enter__(self) -> str:
        started = threading.Event()
        startup = self.server.startup

        async def told(sockets: object = None) -> None:
            await startup(sockets)  # type: ignore[arg-type]
            started.set()

        self.server.startup = told  # type: ignore[assignment]
        self.thread.start()
        assert started.wait(60)
        host, port = self.server.servers[0].sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(30)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example(example: Example, client: httpx.Client) -> None:
    """Every step holds."""
    run_with(example, Remote(None, client=client))  # type: ignore[arg-type]


def test_a_wrong_expectation_is_noticed(client: httpx.Client) -> None:
    """The runner can fail."""
    wrong = Example("", frozenset(), (*EXAMPLES[0].steps[:-1], 'the reason should be "CACHED"'))
    with pytest.raises(AssertionError):
        run_with(wrong, Remote(None, client=client))  # type: ignore[arg-type]


def test_all_flags_at_once(client: httpx.Client) -> None:
    """As one by one; the ETag spares an equal reply and changes with the context."""
    context = {"context": {"targetingKey": "user-1", "city": "서울"}}
    whole = client.post(f"{ROOT}/", json=context)
    found = {flag["key"]: flag for flag in whole.json()["flags"]}
    assert {"switch", "greeting", "debate_mode"} <= set(found)
    for key in ("switch", "city", "weight"):
        assert client.post(f"{ROOT}/{key}", json=context).json() == found[key]
    tag = {"If-None-Match": whole.headers["ETag"]}
    again = client.post(ROOT, json=context, headers=tag)
    assert (again.status_code, again.content) == (304, b"")
    other = {"context": {"targetingKey": "user-1", "city": "busan"}}
    assert client.post(ROOT, json=other, headers=tag).status_code == 200


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", "PARSE_ERROR"),
        (b'{"context": []}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": 5}}', "INVALID_CONTEXT"),
        (b'{"contexts": {}}', "INVALID_CONTEXT"),
        (b'{"context": null}', "INVALID_CONTEXT"),
        (b'{"context": "kim"}', "INVALID_CONTEXT"),
        (b"null", "INVALID_CONTEXT"),
        (b"[]", "INVALID_CONTEXT"),
        (b'{"context": {"a": NaN}}', "PARSE_ERROR"),
        (b'{"context": {"a": "\xff"}}', "PARSE_ERROR"),
    ],
)
def test_what_no_context_is(client: httpx.Client, content: bytes, code: str) -> None:
    """400 in OFREP's own shape, for one flag and for all."""
    headers = {"Content-Type": "application/json"}
    one = client.post(f"{ROOT}/switch", content=content, headers=headers)
    bulk = client.post(ROOT, content=content, headers=headers)
    assert (one.status_code, one.json()["errorCode"], one.json()["key"]) == (400, code, "switch")
    assert (bulk.status_code, bulk.json()["errorCode"], "key" in bulk.json()) == (400, code, False)
    for details in (one.json()["errorDetails"], bulk.json()["errorDetails"]):
        assert details
        assert not re.search("Ofrep|EvaluationContext", details)


def test_nobody_in_particular(client: httpx.Client) -> None:
    """OFREP asks neither for a body nor for a context in it."""
    replies = [client.post(f"{ROOT}/switch", **body) for body in ({}, {"json": {}})]
    assert [reply.json()["value"] for reply in replies] == [True, True]
    assert client.post(ROOT).json() == client.post(ROOT, json={"context": {}}).json()


@pytest.mark.parametrize("key", ["없음", "a/b", "a%2Fb", "k" * 3000])
def test_an_unknown_flag(client: httpx.Client, key: str) -> None:
    """404 in OFREP's own shape, also for a key that cannot be."""
    reply = client.post(f"{ROOT}/{key}", json={"context": {}})
    assert reply.status_code == 404
    assert (reply.json()["key"], reply.json()["errorCode"]) == (unquote(key), "FLAG_NOT_FOUND")


def test_an_etag_in_every_form(client: httpx.Client) -> None:
    """Weak, in a list, or any; a text without quotes is none. RFC 9110, section 13.1.2."""
    tag = client.post(ROOT).headers["ETag"]
    assert re.fullmatch(r'"[^"]+"', tag)
    forms = (tag, f"W/{tag}", f'"x", {tag}', "*", '"x"', tag.strip('"'))
    found = [client.post(ROOT, headers={"If-None-Match": form}).status_code for form in forms]
    assert found == [304, 304, 304, 304, 200, 200]


def test_all_flags_come_with_what_is_said_of_them_all(client: httpx.Client) -> None:
    """The document's metadata, once."""
    assert client.post(ROOT).json()["metadata"]["set"] == "examples"


def test_who_may_ask(client: httpx.Client) -> None:
    """401 without a key, 403 without the scope; a bearer's token is a key, too."""
    secret = client.headers["X-API-Key"]
    for path in (ROOT, f"{ROOT}/switch"):
        url = client.base_url.join(path)
        assert httpx.post(url).status_code == 401
        assert httpx.post(url, headers={"X-API-Key": "wrong"}).status_code == 401
        token = {"Authorization": f"Bearer {secret}"}
        assert httpx.post(url, headers=token).status_code == 200
        assert client.get(path).status_code == 405


def test_rules_and_lists_of_people_stay_inside(client: httpx.Client) -> None:
    """A reply has values and metadata, nothing that tells who is in."""
    text = client.post(ROOT, json={"context": {}}).text
    assert "fractional" not in text.replace('"key":"fractional', "")
    assert '"targeting"' not in text
