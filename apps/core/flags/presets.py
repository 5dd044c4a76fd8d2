"""Ready policies, and policies as the JSON that is stored and sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType

from apps.core.errors import Unprocessable
from apps.core.flags.metric import Kind, Metric, Role
from apps.core.flags.policy import DAY_S, Policy

PRESETS: Mapping[str, Policy] = MappingProxyType(
    {
        "default": Policy(),
        "weekly": Policy(
            stages=(10, 50, 100),
            dwell_s=7 * DAY_S,
            soak_s=7 * DAY_S,
            max_stage_s=21 * DAY_S,
            silence_s=DAY_S,
        ),
    }
)


def preset(name: str, *, metrics: Sequence[Metric] | None = None) -> Policy:
    """Return a ready policy, with other metrics if they are given.

    Raises:
        Unprocessable: there is no such preset.
    """
    if name not in PRESETS:
        raise Unprocessable(f"There is no preset {name!r}; use {' or '.join(PRESETS)}.")
    policy = PRESETS[name]
    return policy if metrics is None else replace(policy, metrics=tuple(metrics))


def policy_json(policy: Policy) -> dict[str, object]:
    """Write a policy as JSON values."""
    return asdict(policy)


def policy_from(body: Mapping[str, object]) -> Policy:
    """Read a policy: the fields of a preset (key `preset`, else the default one), some replaced.

    Raises:
        Unprocessable: a field is unknown, of a wrong type, or not usable.
    """
    fields = dict(body)
    base = preset(str(fields.pop("preset", "default")))
    try:
        if "stages" in fields:
            fields["stages"] = tuple(_number(stage) for stage in _listed(fields["stages"]))
        if not isinstance(fields.get("auto_promote", True), bool):
            raise TypeError("auto_promote is true or false")
        if "metrics" in fields:
            fields["metrics"] = tuple(_metric(entry) for entry in _listed(fields["metrics"]))
        # The dataclass refuses unknown names, and its checks refuse what cannot be compared.
        return replace(base, **fields)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise Unprocessable(f"The policy cannot be read: {error}.") from error


def _listed(value: object) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"expected a list, not {value!r}")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, not {value!r}")
    return value


def _metric(entry: object) -> Metric:
    if not isinstance(entry, Mapping):
        raise TypeError(f"expected an object for a metric, not {entry!r}")
    role, kind = Role(entry.get("role", "guardrail")), Kind(entry.get("kind", "event"))
    return Metric(**{**entry, "role": role, "kind": kind})
