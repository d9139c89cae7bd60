"""The HTTPS client that the host lends by default.

======================================================  =====================  ==========
where it failed                                         code                   ``sent``
======================================================  =====================  ==========
resolving the name                                      ``dns``                no
connecting                                              ``connect``            no
a proxy, before the tunnel stood                        ``proxy``              no
the TLS handshake                                       ``tls``                no
no connection in time                                   ``timeout``            no
no whole reply in time                                  ``timeout``            yes
the connection ended before the reply did               ``connection-closed``  yes
the reply is not HTTP                                   ``invalid-reply``      yes
the reply is longer than permitted                      ``reply-too-large``    yes
======================================================  =====================  ==========

Each request gets a connection of its own: an idle one may be dead without either side knowing, and then nobody can tell whether the
request arrived. ``sent`` is measured, not guessed: it is whether a byte of the request was handed to the system.
"""

from __future__ import annotations

import socket
import ssl
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpcore
import truststore

from . import proxy, regular_file
from .connect_to import ConnectTo
from .http_client import HttpFailure, HttpReply, HttpRequest
from .version import VERSION
from .wire import Wire

_HTTPS = 443
_USER_AGENT = f"procore-auth/{VERSION} (python)"
_CONNECT_TIMEOUT = 10.0


class HttpsClient:
    """An :class:`HttpClient` on httpcore: HTTP/1.1 over TLS, with the system's trusted roots and the proxy that the environment names."""

    def __init__(
        self,
        *,
        extra_ca: Path | str | None = None,
        connect_to: Iterable[ConnectTo] = (),
        connect_timeout: float = _CONNECT_TIMEOUT,
    ) -> None:
        """Trusts the certificate authorities in the PEM file ``extra_ca`` too, and takes the proxy that the environment names now.

        Fails with :class:`OSError` where the file cannot be used, and with :class:`~procore_auth.Misconfigured` where the proxy is none.
        """
        self._tls = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.set_alpn_protocols(["http/1.1"])
        if extra_ca is not None:
            regular_file.check(extra_ca)
            self._tls.load_verify_locations(cafile=str(extra_ca))
        self._overrides = tuple(connect_to)
        self._connect_timeout = connect_timeout
        self._proxy = proxy.of_environment()

    def send(self, request: HttpRequest, timeout: float, reply_size: int) -> HttpReply:
        """Sends one request on a connection of its own. Fails with :class:`HttpFailure`."""
        override = self._override(request.host)
        through = None if override or urllib.request.proxy_bypass(request.host) else self._proxy
        wire = Wire(time.monotonic() + timeout, self._connect_timeout, override)
        try:
            with self._pool(wire, through) as pool:
                return _exchange(pool, request, override, reply_size)
        except (httpcore.TimeoutException, TimeoutError):
            what = "whole reply" if wire.is_connected else "connection"
            raise HttpFailure("timeout", f"{request.host}: no {what} in time", sent=wire.is_sent) from None
        except _TooLarge:
            message = f"{request.host}: the reply is longer than {reply_size} bytes"
            raise HttpFailure("reply-too-large", message, sent=True) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, OSError) as error:
            code = _code(error, wire, is_proxied=through is not None)
            raise HttpFailure(code, f"{request.host}: {_cause(code, error)}", sent=wire.is_sent) from None

    def _override(self, host: str) -> ConnectTo | None:
        return next((o for o in self._overrides if (o.host, o.port) == (host, _HTTPS)), None)

    def _pool(self, wire: Wire, proxy: httpcore.Proxy | None) -> httpcore.ConnectionPool:
        return httpcore.ConnectionPool(
            ssl_context=self._tls,
            proxy=proxy,
            max_connections=1,
            max_keepalive_connections=0,
            retries=0,
            network_backend=wire,
        )


class _TooLarge(Exception):
    """The reply's body is longer than permitted."""


def _exchange(pool: httpcore.ConnectionPool, request: HttpRequest, override: ConnectTo | None, reply_size: int) -> HttpReply:
    scheme = "http" if override is not None and override.is_plain else "https"
    url = httpcore.URL(scheme=scheme, host=request.host, port=_HTTPS, target=request.target)
    headers = [("host", request.host), ("user-agent", _USER_AGENT), *request.headers]
    content = request.body if request.body or request.method == "POST" else None
    with pool.stream(request.method, url, headers=headers, content=content) as reply:
        received = [(name.decode("latin-1").lower(), _text(value)) for name, value in reply.headers]
        if _announced(received) > reply_size:
            raise _TooLarge
        return HttpReply(reply.status, received, _body(reply.iter_stream(), reply_size))


def _body(chunks: Iterator[bytes], most: int) -> bytes:
    body = bytearray()
    for chunk in chunks:
        if len(body) + len(chunk) > most:
            raise _TooLarge
        body += chunk
    return bytes(body)


def _announced(headers: list[tuple[str, str]]) -> int:
    length = next((value for name, value in headers if name == "content-length"), "")
    return int(length) if length.isascii() and length.isdecimal() else 0


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")


def _code(error: Exception, wire: Wire, *, is_proxied: bool) -> str:
    if isinstance(error, httpcore.ProxyError):
        return "proxy"
    if wire.is_connected:
        is_invalid = isinstance(error, httpcore.ProtocolError) and not wire.is_ended
        return "invalid-reply" if is_invalid else "connection-closed"
    causes = list(_chain(error))
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "tls"
    if is_proxied:
        return "proxy"
    return "dns" if any(isinstance(cause, socket.gaierror) for cause in causes) else "connect"


def _cause(code: str, error: Exception) -> str:
    """The innermost cause says most. What is wrong with a reply is not repeated: the text may quote a token."""
    if code == "invalid-reply":
        return "the reply is not HTTP"
    return str(list(_chain(error))[-1]) or type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
