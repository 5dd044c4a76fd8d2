"""Examples in the form of flagd's public test bed, through the OpenFeature provider."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.core.flags.definition import parse_document
from tests.core.flags.gherkin import Example, examples, run, snapshot_of

TESTBED = Path(__file__).with_name("testbed")
EXAMPLES = [each for path in sorted(TESTBED.glob("*.feature")) for each in examples(path)]
SNAPSHOT = snapshot_of(parse_document((TESTBED / "flags.json").read_bytes()))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example(example: Example) -> None:
    """Every step holds."""
    run(example, SNAPSHOT)


def test_a_wrong_expectation_is_noticed() -> None:
    """The runner can fail."""
    wrong = Example("", frozenset(), (*EXAMPLES[0].steps[:-1], 'the reason should be "CACHED"'))
    with pytest.raises(AssertionError):
        run(wrong, SNAPSHOT)
