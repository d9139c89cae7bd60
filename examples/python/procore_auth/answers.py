"""What the plugin answers: the records of the contract, in Python's words. Times are in milliseconds since 1970."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from .secret import Secret

Health = Literal["healthy", "unverified", "at-risk", "unavailable", "misconfigured", "sign-in-required"]


@dataclass(frozen=True)
class Diagnosis:
    """What is the matter, for a person: never a secret, never only a code."""

    code: str
    summary: str
    cause: str
    remedy: str
    evidence: list[str]


@dataclass(frozen=True)
class Token:
    """An access token with its times."""

    bearer: Secret
    """The value for ``Authorization: Bearer``."""
    refresh_at: int
    """From this moment on, ask again."""
    expires_at: int


@dataclass(frozen=True)
class Login:
    """A sign-in that was begun."""

    authorize_url: str
    """Where the person signs in. Holds no secret."""
    redirect_uri: str
    expires_at: int


@dataclass(frozen=True)
class TokenTimes:
    """The life of the access token."""

    issued_at: int
    refresh_at: int
    expires_at: int


@dataclass(frozen=True)
class Identity:
    """Who the access token acts as."""

    id: int
    login: str
    name: str


@dataclass(frozen=True)
class Incident:
    """A trouble that people were told of."""

    since: int
    last_told: int
    stage: Literal["working", "urgent", "dark"]
    dark_at: int | None
    diagnosis: Diagnosis


@dataclass(frozen=True)
class Status:
    """How the connection is, with the evidence."""

    health: Health
    token: TokenTimes | None
    last_evidence: int | None
    identity: Identity | None
    api_origin: str
    refreshes: int
    incident: Incident | None
    parked: int
    undecided: int


@dataclass(frozen=True)
class Visit:
    """What a visit of the keeper found and did."""

    refreshed: bool
    replayed: int
    come_back_at: int
    pause_until: int | None
    status: Status


@dataclass(frozen=True)
class Header:
    """One HTTP header."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True)
class Response:
    """What Procore answered, with whatever status."""

    status: int
    headers: list[Header]
    body: bytes = field(repr=False)
    attempts: int
    """How many times the request was sent."""
    diagnosis: Diagnosis | None
    """What a refusal means; ``None`` for a status below 400."""
    pause_until: int | None

    @property
    def ok(self) -> bool:
        """Whether the status is a success."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Parses the body. Fails with :class:`ValueError` where it is no JSON."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """Returns the first header of this name."""
        return next((h.value for h in self.headers if h.name.lower() == name.lower()), None)


@dataclass(frozen=True)
class ParkedRequest:
    """A request that is kept for later."""

    id: str
    state: Literal["queued", "unknown-outcome", "dead-letter"]
    method: str
    path: str
    size: int
    parked_at: int
    replays: int
    reason: str
    order_key: str | None


@dataclass(frozen=True)
class Kept:
    """The outcome of a call whose request was parked instead of being answered."""

    request: ParkedRequest
    pause_until: int | None


@dataclass(frozen=True)
class Replayed:
    """A parked request that was sent."""

    id: str
    status: int


@dataclass(frozen=True)
class ReplayReport:
    """What a replay came to."""

    replayed: list[Replayed]
    remaining: int
    stopped: Diagnosis | None
    pause_until: int | None
