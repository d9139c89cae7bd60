"""A connection's settings, as the embedder gives them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from .secret import Secret

Environment = Literal["production", "sandbox", "monthly-sandbox", "federal"]
"""A Procore environment. All URLs follow from this one value, inside the plugin."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FINGERPRINT_LABEL = b"procore-auth client secret fingerprint v1\0"


@dataclass(frozen=True)
class AuthorizationCode:
    """A user signs in."""

    redirect_uri: str
    """Exactly as registered in the developer portal."""


@dataclass(frozen=True)
class ClientCredentials:
    """A Developer Managed Service Account: no browser."""


Grant = AuthorizationCode | ClientCredentials


@dataclass(frozen=True)
class Policy:
    """The numbers of the token policy. Times are in seconds."""

    refresh_percent: int = 80
    refresh_jitter: float = 30
    token_timeout: float = 30
    lock_wait: float = 45
    call_timeout: float = 60
    parked_count: int = 1000
    parked_bytes: int = 64 << 20
    parked_age: float = 7 * 24 * 3600
    pkce: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.refresh_percent <= 99:
            raise ValueError("refresh_percent is a number from 1 to 99")
        if self.token_timeout < 5 or self.call_timeout < 1 or self.parked_age < 60:
            raise ValueError("token_timeout is at least 5 s, call_timeout 1 s, parked_age 60 s")
        if self.parked_count < 1 or self.parked_bytes < 1024 or self.refresh_jitter < 0:
            raise ValueError("parked_count is at least 1, parked_bytes 1024, refresh_jitter 0")
        # A waiter that gives up before the holder does would give up on a refresh that is about to succeed.
        if self.lock_wait <= self.token_timeout:
            raise ValueError("lock_wait must be longer than token_timeout")


@dataclass(frozen=True)
class Settings:
    """One connection: one environment, one client id, one user or service account."""

    name: str
    """For messages, and for its folder in a store: 1 to 64 of ``a-z``, ``0-9``, ``-`` and ``_``."""
    environment: Environment
    client_id: str
    client_secret: Secret
    """Stays in the host: the plugin gets a fingerprint."""
    grant: Grant
    company_id: int | None = None
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise ValueError("a connection name is 1 to 64 characters of a-z, 0-9, - and _, and begins with a letter or a digit")

        if self.environment not in get_args(Environment):
            raise ValueError(f"environment is one of {', '.join(get_args(Environment))}, not {self.environment}")

    def secret_fingerprint(self) -> str:
        """Changes with the secret's bytes, and tells nothing else: 64 bits are too few to confirm a guessed secret of usual strength."""
        digest = hashlib.sha256(_FINGERPRINT_LABEL + self.client_secret.expose().encode())
        return digest.hexdigest()[:16]
