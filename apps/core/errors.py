"""The error tree: every failure a caller can see, with its status, code and retry advice.

DtRagError                      status  code                     retryable
├── SystemFailure                500    system_failure           no
│   ├── IndexNotReady            503    service_unavailable      yes
│   ├── StorageDown              503    network_failure          yes
│   └── DeadlineExceeded         504    deadline_exceeded        yes
├── ProviderFailure              502    provider_failure         no
│   ├── ProviderBusy             503    rate_limit_exceeded      yes
│   ├── PromptTooLong            502    token_limit_exceeded     no
│   └── BadReply                 502    invalid_response         yes
├── BusinessFailure              409    business_rule_violation  no
│   ├── NotAllowed               403    authorization_error      no
│   ├── VersionConflict          412    version_conflict         no
│   ├── PrerequisiteCycle        409    prerequisite_cycle       no
│   ├── EnvironmentVeto          409    environment_veto         no
│   └── Blocked                  409    blocked                  no
└── UserFailure                  400    invalid_input            no
    ├── NotAuthenticated         401    authentication_required  no
    ├── NotFound                 404    not_found                no
    ├── WrongMethod              405    method_not_allowed       no
    ├── TooLarge                 413    too_large                no
    ├── UnsupportedOperation     415    unsupported_operation    no
    ├── VersionNeeded            428    version_needed           no
    ├── MissingParameter         422    missing_parameter        no
    ├── Unprocessable            422    validation_error         no
    │   └── BadDefinition        422    invalid_definition       no
    └── LimitReached             429    rate_limited             yes

Retryable means: the same request may succeed later without being changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar


class DtRagError(Exception):
    """Root of every failure that the product names."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "system_failure"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s

    @property
    def members(self) -> Mapping[str, object]:
        """What a program may want to know beyond the sentence; plain values for JSON."""
        return {}


class SystemFailure(DtRagError):
    """Something of ours is broken."""


class IndexNotReady(SystemFailure):
    """No index version is open yet."""

    status, code, retryable = 503, "service_unavailable", True


class StorageDown(SystemFailure):
    """The database cannot be reached."""

    status, code, retryable = 503, "network_failure", True


class DeadlineExceeded(SystemFailure):
    """The request's time is used up."""

    status, code, retryable = 504, "deadline_exceeded", True


class ProviderFailure(DtRagError):
    """A model provider failed."""

    status, code = 502, "provider_failure"


class ProviderBusy(ProviderFailure):
    """A model provider is overloaded, limits us, or does not answer in time."""

    status, code, retryable = 503, "rate_limit_exceeded", True


class PromptTooLong(ProviderFailure):
    """The prompt is longer than the model takes."""

    status, code = 502, "token_limit_exceeded"


class BadReply(ProviderFailure):
    """A model provider answered with something unusable."""

    status, code, retryable = 502, "invalid_response", True


class BusinessFailure(DtRagError):
    """A rule of the product forbids it in the present state."""

    status, code = 409, "business_rule_violation"


class NotAllowed(BusinessFailure):
    """The caller is known but lacks the scope."""

    status, code = 403, "authorization_error"


class VersionConflict(BusinessFailure):
    """Another change came first; read again, then decide again."""

    status, code = 412, "version_conflict"


class PrerequisiteCycle(BusinessFailure):
    """Flags would wait for each other, or for too long a row of flags."""

    status, code = 409, "prerequisite_cycle"


class EnvironmentVeto(BusinessFailure):
    """A variable of the environment says false, so nothing can turn the flag on.

    blocked_by: `env:FEATURE_X=false`; `hosts`: those that reported it.
    """

    status, code = 409, "environment_veto"

    def __init__(self, blocked_by: str, hosts: Sequence[str]) -> None:
        where = ", ".join(hosts)
        super().__init__(f"The environment forbids it: {blocked_by} on {where}.")
        self.blocked_by = blocked_by
        self.hosts = tuple(hosts)

    @property
    def members(self) -> Mapping[str, object]:
        """The variable and the hosts."""
        return {"blocked_by": self.blocked_by, "hosts": list(self.hosts)}


class Blocked(BusinessFailure):
    """Something is missing for the next step; `blockers` name it."""

    code = "blocked"

    def __init__(self, detail: str, blockers: Sequence[str]) -> None:
        super().__init__(detail)
        self.blockers = tuple(blockers)

    @property
    def members(self) -> Mapping[str, object]:
        """What blocks."""
        return {"blockers": list(self.blockers)}


class UserFailure(DtRagError):
    """The request is at fault."""

    status, code = 400, "invalid_input"


class NotAuthenticated(UserFailure):
    """No key, or a key that is not valid."""

    status, code = 401, "authentication_required"


class NotFound(UserFailure):
    """There is no such thing, or not for this caller."""

    status, code = 404, "not_found"


class WrongMethod(UserFailure):
    """The path exists, but not with this method."""

    status, code = 405, "method_not_allowed"


class TooLarge(UserFailure):
    """The body or the file is over its limit."""

    status, code = 413, "too_large"


class UnsupportedOperation(UserFailure):
    """A format or an operation that is not offered."""

    status, code = 415, "unsupported_operation"


class VersionNeeded(UserFailure):
    """A change must say which version it was decided on."""

    status, code = 428, "version_needed"


class MissingParameter(UserFailure):
    """A required field is absent."""

    status, code = 422, "missing_parameter"


class Unprocessable(UserFailure):
    """A field is present but not usable."""

    status, code = 422, "validation_error"


class BadDefinition(Unprocessable):
    """A flag definition cannot be used; `faults` are pairs of JSON pointer and sentence."""

    code = "invalid_definition"

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{pointer or '/'}: {what}" for pointer, what in faults[:5]))
        self.faults = tuple(faults)
        self.pointer = self.faults[0][0] if self.faults else ""

    @property
    def members(self) -> Mapping[str, object]:
        """The first pointer, and every fault."""
        faults = [{"pointer": pointer, "problem": what} for pointer, what in self.faults]
        return {"pointer": self.pointer, "faults": faults}

    def below(self, pointer: str) -> BadDefinition:
        """The same where the definition is itself a part of something."""
        return BadDefinition([(pointer + inner, what) for inner, what in self.faults])


class LimitReached(UserFailure):
    """A quota is used up for now."""

    status, code, retryable = 429, "rate_limited", True
