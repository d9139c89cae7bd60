"""HTTP, as lent to the plugin: one request, one connection, one reply."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class HttpRequest:
    """A request that the egress policy has permitted. ``repr`` shows neither its target, its headers nor its body."""

    method: str
    host: str
    target: str = field(repr=False)
    headers: list[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class HttpReply:
    """A whole reply, whatever its status."""

    status: int
    headers: list[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)


class HttpFailure(Exception):
    """Why there is no reply. The message is for a person, and holds no secret.

    ``sent`` tells whether any byte of the request may have reached the server: where it is true, a single-use token in it may be spent.
    """

    def __init__(self, code: str, message: str, *, sent: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.sent = sent


class HttpClient(Protocol):
    """Sends requests over HTTPS to port 443 of the host that they name.

    Follows nothing, repeats nothing, decompresses nothing, keeps no cookies, and sets ``Host`` and ``User-Agent``.
    """

    def send(self, request: HttpRequest, timeout: float, reply_size: int) -> HttpReply:
        """Sends one request, and returns the reply within ``timeout`` seconds and ``reply_size`` bytes of body.

        Fails with :class:`HttpFailure`.
        """
