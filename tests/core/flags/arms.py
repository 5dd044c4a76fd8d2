"""What tests of the arms share: a rollout, evaluations under it, and exposed requests."""

from __future__ import annotations

from apps.core.domain.flags import Exposed
from apps.core.flags.arms import ArmRecorder
from apps.core.flags.arms_outcome import Outcome
from apps.core.flags.context import FlagContext
from apps.core.flags.evaluation import Evaluation
from apps.core.flags.rollout import Split
from tests.fakes.clock import FakeClock
from tests.fakes.flags import FakeFlagStore, rolled_out

PEPPER = b"p" * 32
TAU = {"slow": 100.0, "cost": 50.0}


def half(rollout_id: str = "ro_1", **more: object) -> Split:
    """Half of the units debate."""
    values = {"id": rollout_id, "epoch": 1, "stage": 0, "tau": TAU, **more}
    return Split("debate_mode", 50, **values)


class Desk:
    """A recorder with its clock and flags."""

    def __init__(self, rollout: Split | None = None) -> None:
        self.clock = FakeClock()
        self.flags: FakeFlagStore = rolled_out(rollout or half())
        self.arms = ArmRecorder(self.clock, PEPPER, self.flags)

    def evaluation(self, user_id: str | None, request_id: str = "r", **more: object) -> Evaluation:
        """What a request of a user is told."""
        context = FlagContext(user_id=user_id, request_id=request_id, **more)
        return self.flags.decide(context)

    def exposed(self, user_id: str | None, request_id: str = "r", **more: object) -> Exposed | None:
        """The request at the node."""
        evaluation = self.evaluation(user_id, request_id, **more)
        return self.arms.expose(
            evaluation, "debate_mode", node="debate_mode", request_id=request_id
        )

    def ended(self, met: Exposed | None, request_id: str = "r", **more: object) -> None:
        """Its end."""
        assert met is not None
        self.arms.finish(Outcome((met,), request_id, self.clock.now(), **more))

    def users(self, arm: str, count: int) -> list[str]:
        """Users of an arm."""
        names = (f"user-{n}" for n in range(10_000))
        found = [n for n in names if self.evaluation(n)["debate_mode"].arm == arm]
        return found[:count]
