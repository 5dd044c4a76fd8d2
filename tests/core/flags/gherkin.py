"""A small runner for examples in the form of flagd's public test bed.

It knows as much of Gherkin as these need: Background, Scenario, Scenario Outline with Examples,
tables below a step, tags, comments, and the steps of an evaluator. `examples` reads a feature
file, `run` evaluates one example against a snapshot. Values are texts in the file; the kind of the
flag says how to read them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails

from apps.core.flags.definition import FlagSet
from apps.core.flags.provider import SqlFlagProvider
from apps.core.flags.snapshot import FlagEntry, FlagWorld, Snapshot
from tests.fakes.clock import FakeClock

KEYWORDS = re.compile(r"(?:Given|When|Then|And|But) (.*)")
READ: dict[str, Callable[[str], object]] = {
    "Boolean": lambda text: text == "true",
    "String": str,
    "Integer": int,
    "Float": float,
    "Object": json.loads,
}


@dataclass(frozen=True)
class Example:
    """One scenario with its placeholders filled in."""

    name: str
    tags: frozenset[str]
    steps: tuple[str, ...]


def examples(path: Path) -> Iterator[Example]:
    """The scenarios of a feature file, one for each row of an outline."""
    background: list[str] = []
    for tags, title, body in _blocks(path.read_text(encoding="utf-8")):
        steps, tables = _parts(body)
        if title.startswith("Background"):
            background = steps
            continue
        for place, (more, row) in enumerate(tables or [(frozenset(), {})]):
            filled = tuple(_filled(step, row) for step in (*background, *steps))
            yield Example(f"{path.stem}: {title} [{place}]", tags | more, filled)


def _blocks(text: str) -> Iterator[tuple[frozenset[str], str, list[str]]]:
    tags: frozenset[str] = frozenset()
    title, own, body = "", tags, list[str]()
    for line in (raw.strip() for raw in text.splitlines()):
        if line.startswith(("Scenario", "Background")):
            if title:
                yield own, title, body
            title, own, tags, body = line, tags, frozenset(), []
        elif line.startswith("@"):
            tags = frozenset(line.split())
            body.append(line)
        elif line and not line.startswith(("#", "Feature")):
            tags = frozenset()
            body.append(line)
    if title:
        yield own, title, body


def _parts(body: list[str]) -> tuple[list[str], list[tuple[frozenset[str], dict[str, str]]]]:
    steps, rows = [], []
    tags: frozenset[str] = frozenset()
    names: list[str] | None = None
    for line in body:
        found = KEYWORDS.fullmatch(line)
        if found:
            steps.append(found[1])
        elif line.startswith("|") and names is None:
            steps[-1] += f"\n{line}"
        elif line.startswith("@"):
            tags = frozenset(line.split())
        elif line.startswith("Examples"):
            names = []
        elif line.startswith("|"):
            cells = _cells(line)
            if names:
                rows.append((tags, dict(zip(names, cells, strict=True))))
            names = names or cells
    return steps, rows


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _filled(step: str, row: dict[str, str]) -> str:
    return re.sub(r"<(\w+)>", lambda found: row.get(found[1], found[0]), step)


@dataclass
class Evaluator:
    """The state that the steps of one example share."""

    snapshot: Snapshot
    kind: str = "Boolean"
    key: str = ""
    fallback: object = None
    targeting_key: str | None = None
    attributes: dict[str, object] = field(default_factory=dict)
    result: FlagResolutionDetails[object] | None = None

    def step(self, text: str) -> None:
        """Do what one step says."""
        for pattern, act in STEPS.items():
            found = re.fullmatch(pattern, text)
            if found:
                act(self, *found.groups())
                return
        raise AssertionError(f"unknown step: {text}")

    def flag(self, kind: str, key: str, fallback: str) -> None:
        self.kind, self.key = kind, key
        self.fallback = READ[kind](_unquoted(fallback))

    def targeting(self, key: str) -> None:
        self.targeting_key = key

    def nested(self, outer: str, inner: str, value: str) -> None:
        self.attributes[outer] = {inner: value}

    def attribute(self, name: str, kind: str, value: str) -> None:
        self.attributes[name] = READ[kind](_unquoted(value))

    def evaluate(self) -> None:
        provider = SqlFlagProvider(lambda: self.snapshot, FakeClock())
        resolve = getattr(provider, f"resolve_{self.kind.lower()}_details")
        context = EvaluationContext(self.targeting_key, self.attributes)
        self.result = resolve(self.key, self.fallback, context)

    def value_is(self, expected: str) -> None:
        assert self.result is not None
        wanted = READ[self.kind](_unquoted(expected))
        assert (self.result.value, type(self.result.value)) == (wanted, type(wanted))

    def reason_is(self, expected: str) -> None:
        assert self.result is not None
        assert self.result.reason == expected

    def variant_is(self, expected: str) -> None:
        assert self.result is not None
        assert self.result.variant == expected

    def metadata_are(self, table: str) -> None:
        assert self.result is not None
        rows = [_cells(line) for line in table.splitlines()[1:]]
        expected = {name: READ[kind](value) for name, kind, value in rows}
        found = {name: self.result.flag_metadata.get(name) for name in expected}
        assert found == expected

    def error_is(self, expected: str) -> None:
        assert self.result is not None
        assert self.result.error_code == expected


def _unquoted(text: str) -> str:
    return text.replace('\\"', '"')


STEPS: dict[str, Callable[..., None]] = {
    "an evaluator": lambda _evaluator: None,
    r'an? (\w+)-flag with key "(.*)" and a (?:fallback|default) value "(.*)"': Evaluator.flag,
    r'a context containing a targeting key with value "(.*)"': Evaluator.targeting,
    r'a context containing a nested property with outer key "(.*)" and inner key "(.*)", '
    r'with value "(.*)"': Evaluator.nested,
    r'a context containing a key "(.*)", with type "(\w+)" and with value "(.*)"': (
        Evaluator.attribute
    ),
    "the flag was evaluated with details": lambda evaluator: evaluator.evaluate(),
    r'the resolved details value should be "(.*)"': Evaluator.value_is,
    r'the reason should be "(.*)"': Evaluator.reason_is,
    r'the variant should be "(.*)"': Evaluator.variant_is,
    r"(?s)the resolved metadata should contain\n(.*)": Evaluator.metadata_are,
    r'the error-code should be "(.*)"': Evaluator.error_is,
}


def snapshot_of(flags: FlagSet) -> Snapshot:
    """The image of a document that was imported into an empty database."""
    entries = tuple(FlagEntry.of(flag) for flag in flags.flags.values())
    world = FlagWorld(
        version=1, entries=entries, evaluators=flags.evaluators, metadata=flags.metadata
    )
    return Snapshot(world)


def run(example: Example, snapshot: Snapshot) -> None:
    """Do the steps of an example; the first that does not hold raises."""
    run_with(example, Evaluator(snapshot))


def run_with(example: Example, evaluator: Evaluator) -> None:
    """The same with an evaluator that may ask elsewhere."""
    for step in example.steps:
        evaluator.step(step)
