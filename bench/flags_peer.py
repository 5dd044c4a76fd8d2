"""Nine flags a request through the OpenFeature SDK and flagd's core; run in their environment.

Usage: python flags_peer.py DOCUMENT.json REQUESTS   (prints microseconds of CPU a request)
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from openfeature import api
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider import Metadata
from openfeature.provider.no_op_provider import NoOpProvider


class CoreProvider(NoOpProvider):
    """Resolves booleans by flagd's core, in memory."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self._core = FlagdCore()
        self._core.set_flags(document)

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata(name="flagd-core")

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """A boolean."""
        return self._core.resolve_boolean_value(flag_key, default_value, evaluation_context)


def main() -> None:
    """Decide all flags for many users."""
    document, count = Path(sys.argv[1]).read_text(encoding="utf-8"), int(sys.argv[2])
    keys = list(json.loads(document)["flags"])
    api.set_provider_and_wait(CoreProvider(document))
    client = api.get_client()
    contexts = [
        EvaluationContext(f"user-{n}", {"tenant": "other", "user_id": f"user-{n}"})
        for n in range(count)
    ]
    began = time.process_time()
    for context in contexts:
        for key in keys:
            client.get_boolean_details(key, False, context)
    print(json.dumps((time.process_time() - began) / count * 1e6))


if __name__ == "__main__":
    main()
