"""The network below one exchange: a deadline for all of it, and the fact whether the request was begun to be written.

httpcore limits each read and each write; a server that sends a byte a second never exceeds such a limit. Here every wait is shortened to
what is left of the whole exchange.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore
from httpcore import NetworkBackend, NetworkStream

from .connect_to import ConnectTo


class OutOfTime(httpcore.TimeoutException):
    """The deadline of the exchange is over."""


class Wire(NetworkBackend):
    """Makes the one connection of an exchange."""

    def __init__(self, deadline: float, connect_timeout: float, override: ConnectTo | None) -> None:
        """``deadline`` is on the scale of :func:`time.monotonic`."""
        self._deadline = deadline
        self._connect_deadline = min(deadline, time.monotonic() + connect_timeout)
        self._override = override
        self._network = httpcore.SyncBackend()
        self.is_connected = False
        """Whether the connection stood, TLS included."""
        self.is_sent = False
        """Whether a byte of the request was handed to the system."""
        self.is_ended = False
        """Whether the other side closed the connection."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> NetworkStream:
        """Connects to the host, or to where its connections go instead."""
        if self._override is not None:
            host, port = self._override.address, self._override.to_port
        left = self.left_to_connect()
        stream = self._network.connect_tcp(host, port, left, local_address, socket_options)
        is_plain = self._override is not None and self._override.is_plain
        self.is_connected = is_plain
        return _Stream(stream, self, carries_request=is_plain)

    def left(self) -> float:
        """Returns what is left of the exchange."""
        return _left(self._deadline)

    def left_to_connect(self) -> float:
        """Returns what is left for connecting, which is a part of the exchange."""
        return _left(self._connect_deadline)


class _Stream(NetworkStream):
    """A connection, or the TLS in it. The request goes through the innermost; what goes before is for a proxy."""

    def __init__(self, inner: NetworkStream, wire: Wire, *, carries_request: bool) -> None:
        self._inner = inner
        self._wire = wire
        self._carries_request = carries_request

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        received = self._inner.read(max_bytes, self._left())
        self._wire.is_ended |= not received
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In pieces, so that each is within what is left.
        for start in range(0, len(buffer), _PIECE):
            left = self._left()
            self._wire.is_sent |= self._carries_request
            self._inner.write(buffer[start : start + _PIECE], left)

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None) -> NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._wire.left_to_connect())
        self._wire.is_connected = True
        return _Stream(inner, self._wire, carries_request=True)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def _left(self) -> float:
        return self._wire.left() if self._carries_request else self._wire.left_to_connect()


_PIECE = 64 * 1024


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise OutOfTime
    return left
