"""A connection's settings, as the embedder gives them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from . import given
from .secret import Secret

Environment = Literal["production", "sandbox", "monthly-sandbox", "federal"]
"""A Procore environment. All URLs follow from this one value, inside the plugin."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MOST_COUNT = (1 << 32) - 1
# A refresh token is spent by a request whose answer nobody waits for.
_LEAST = {"token_timeout": 5, "call_timeout": 1, "parked_age": 60, "parked_count": 1, "parked_bytes": 1024}
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
    """The numbers of the token policy. Times are in seconds. Fails with :class:`ValueError`."""

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
        if not given.is_number(self.refresh_percent) or not 1 <= self.refresh_percent <= 99:
            raise ValueError("refresh_percent is a number from 1 to 99")
        for name in ("refresh_jitter", "token_timeout", "lock_wait", "call_timeout", "parked_age"):
            if not given.is_span(getattr(self, name)):
                raise ValueError(f"{name} is a number of seconds, and not negative")
        for name, most in (("parked_count", _MOST_COUNT), ("parked_bytes", given.MOST_NUMBER)):
            if not given.is_number(getattr(self, name)) or getattr(self, name) > most:
                raise ValueError(f"{name} is a whole number of {most} at most")
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is at least {least}")
        if not isinstance(self.pkce, bool):
            raise ValueError("pkce is True or False")
        # A waiter that gives up before the holder does would give up on a refresh that is about to succeed.
        if self.lock_wait <= self.token_timeout:
            raise ValueError("lock_wait must be longer than token_timeout")


@dataclass(frozen=True)
class Settings:
    """One connection: one environment, one client id, one user or service account.

    Fails with :class:`ValueError`, which repeats no secret.
    """

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
        if not isinstance(self.name, str) or _NAME.fullmatch(self.name) is None:
            raise ValueError("a connection name is 1 to 64 characters of a-z, 0-9, - and _, and begins with a letter or a digit")
        if self.environment not in get_args(Environment):
            raise ValueError(f"environment is one of {', '.join(get_args(Environment))}, not {self.environment}")
        if not _is_text(self.client_id):
            raise ValueError("client_id is a text, and not empty")
        if not isinstance(self.client_secret, Secret) or not _is_text(self.client_secret.expose()):
            raise ValueError("client_secret is a Secret with a text, which is not empty")
        if not isinstance(self.grant, AuthorizationCode | ClientCredentials):
            raise ValueError("grant is an AuthorizationCode or ClientCredentials")
        if isinstance(self.grant, AuthorizationCode) and not _is_text(self.grant.redirect_uri):
            raise ValueError("redirect_uri is a text, and not empty")
        if self.company_id is not None and not given.is_number(self.company_id):
            raise ValueError("company_id is a whole number, and not negative")

    def secret_fingerprint(self) -> str:
        """Changes with the secret's bytes, and tells nothing else: 64 bits are too few to confirm a guessed secret of usual strength."""
        digest = hashlib.sha256(_FINGERPRINT_LABEL + self.client_secret.expose().encode())
        return digest.hexdigest()[:16]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and given.is_encodable(value)
