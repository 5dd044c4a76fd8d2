"""Ready policies, and policies as the JSON that is stored and sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from types import MappingProxyType

from apps.core.errors import Unprocessable
from apps.core.flags.metric import Kind, Metric, Role
from apps.core.flags.policy import DAY_S, Policy

Reader = Callable[[str, object], object]

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
    given = dict(body)
    base = preset(str(given.pop("preset", "default")))
    readers: dict[str, Reader] = {"stages": _stages, "metrics": _metrics, "auto_promote": _bool}
    # The readers give what the fields want; a field without a reader is a number.
    return replace(base, **_read(given, Policy, readers))  # type: ignore[arg-type]


def _read(
    given: Mapping[str, object], kind: type[Policy | Metric], readers: Mapping[str, Reader]
) -> dict[str, object]:
    known, what = {each.name for each in fields(kind)}, kind.__name__.lower()
    if unknown := sorted(given.keys() - known):
        raise Unprocessable(f"A {what} has no {unknown[0]!r}; it has {', '.join(sorted(known))}.")
    return {name: readers.get(name, _number)(name, value) for name, value in given.items()}


def _listed(name: str, value: object) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise Unprocessable(f"{name} must be a list, not {value!r}.")
    return value


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unprocessable(f"{name} must be a number, not {value!r}.")
    return value


def _number_or_none(name: str, value: object) -> float | None:
    return None if value is None else _number(name, value)


def _bool(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise Unprocessable(f"{name} must be true or false, not {value!r}.")
    return value


def _word(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise Unprocessable(f"{name} must be a text, not {value!r}.")
    return value


def _role(name: str, value: object) -> Role:
    return Role(_one_of(name, value, Role))


def _kind(name: str, value: object) -> Kind:
    return Kind(_one_of(name, value, Kind))


def _one_of(name: str, value: object, known: type[Role | Kind]) -> str:
    words = [str(each) for each in known]
    if value not in words:
        raise Unprocessable(f"{name} must be {' or '.join(words)}, not {value!r}.")
    return str(value)


def _stages(name: str, value: object) -> tuple[float, ...]:
    return tuple(_number(name, stage) for stage in _listed(name, value))


def _metrics(name: str, value: object) -> tuple[Metric, ...]:
    return tuple(_metric(entry) for entry in _listed(name, value))


def _metric(entry: object) -> Metric:
    if not isinstance(entry, Mapping):
        raise Unprocessable(f"A metric must be an object, not {entry!r}.")
    if "name" not in entry:
        raise Unprocessable("A metric needs a name.")
    readers: dict[str, Reader] = {"name": _word, "role": _role, "kind": _kind}
    readers |= dict.fromkeys(("limit", "negligible", "fatal"), _number_or_none)
    # As above.
    return Metric(**_read(entry, Metric, readers))  # type: ignore[arg-type]
