"""Why a call gave no result: one class for each kind of the contract."""

from __future__ import annotations

from typing import Any, ClassVar

from .answers import Diagnosis
from .lift import lift


class AuthError(Exception):
    """Why a call gave no result. Contains no secret.

    ``kind`` says who can cure it and when; ``code`` is for programs, and its set is open; ``summary``, ``cause`` and ``remedy`` are for
    people. ``retry_at``, in milliseconds since 1970, is when the same call can go better; ``None`` where waiting does not help.
    """

    kind: ClassVar[str] = "internal"

    def __init__(self, diagnosis: Diagnosis, retry_at: int | None = None) -> None:
        super().__init__(f"{diagnosis.summary} [{diagnosis.code}]")
        self.diagnosis = diagnosis
        self.retry_at = retry_at

    @property
    def code(self) -> str:
        """The machine code."""
        return self.diagnosis.code

    @property
    def summary(self) -> str:
        """What happened, in one sentence."""
        return self.diagnosis.summary

    @property
    def cause(self) -> str:
        """Why it happened, most likely."""
        return self.diagnosis.cause

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return self.diagnosis.remedy


class InvalidInput(AuthError):
    """The caller's argument is not acceptable."""

    kind = "invalid-input"


class Misconfigured(AuthError):
    """The configuration does not work, here or at the server: someone must change it. Stored tokens are kept."""

    kind = "configuration"


class SignInRequired(AuthError):
    """A person must sign in. Calls made before that fail at once and send nothing."""

    kind = "sign-in-required"


class Unavailable(AuthError):
    """A passing condition: network, server, rate limit. ``retry_at`` says when to come back."""

    kind = "unavailable"


class Busy(AuthError):
    """Another holder kept the connection's lock, or the store itself, for too long."""

    kind = "busy"


class StorageFailed(AuthError):
    """The store could not be read or written, or its content is not trustworthy."""

    kind = "storage"


class UnknownOutcome(AuthError):
    """The request may or may not have been executed, and repeating it is not known to be safe."""

    kind = "unknown-outcome"


class Internal(AuthError):
    """A defect of the plugin or its host."""

    kind = "internal"


_KINDS: dict[str, type[AuthError]] = {
    kind.kind: kind for kind in (InvalidInput, Misconfigured, SignInRequired, Unavailable, Busy, StorageFailed, UnknownOutcome, Internal)
}


def from_record(record: Any) -> AuthError:
    """Makes the exception of the contract's ``error``."""
    diagnosis = lift(Diagnosis, record.diagnosis)
    return _KINDS.get(record.kind, Internal)(diagnosis, getattr(record, "retry-at"))


def internal(code: str, summary: str, cause: str, remedy: str) -> Internal:
    """Makes an error with a code of this host's."""
    return Internal(Diagnosis(code, summary, cause, remedy, []))


def misconfigured(code: str, summary: str, cause: str, remedy: str) -> Misconfigured:
    """Makes an error about what is configured here."""
    return Misconfigured(Diagnosis(code, summary, cause, remedy, []))
