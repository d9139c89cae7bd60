"""The egress policy: where a connection's requests may go, and what they may carry there.

====================================  =====================================================  =============  =================
request to                            permitted                                              client secret  ``authorization``
====================================  =====================================================  =============  =================
the environment's login origin        any method below, any path                             token, revoke  yes
an API origin of the environment      any method below, any path                             no             yes
another environment's login origin    ``GET /oauth/token/info``, during a diagnosis alone    no             yes
anything else                         no                                                     no             no
====================================  =====================================================  =============  =================

A URL is ``https``, names its host plainly (no address, no trailing dot, no user information, no escapes), names no port but 443, has no
fragment, and is visible ASCII without ``\\``: parsers disagree about everything else. Its path is sent in its normal form, and judged as
that. A refusal happens before a socket is opened, and does not repeat what was refused: that text may hold a token.

The client secret goes in ``POST /oauth/token`` and ``POST /oauth/revoke`` without a query.

This is the policy of ``lending/src/egress.rs``; ``tests/conformance/egress.json`` has the cases that both are tested with.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Destination = Literal["login", "api", "token-info-probe"]

LOGIN_HOSTS = {
    "production": "login.procore.com",
    "sandbox": "login-sandbox.procore.com",
    "monthly-sandbox": "login-sandbox-monthly.procore.com",
    "federal": "login.procoregov.com",
}
API_HOSTS = {
    "production": ("api.procore.com",),
    "sandbox": ("sandbox.procore.com",),
    "monthly-sandbox": ("monthly-sandbox.procore.com", "api-monthly.procore.com"),
    "federal": ("api.procoregov.com",),
}

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_TOKEN_INFO = "/oauth/token/info"
# The secret goes where tokens come from, and where they are revoked.
_SECRET_PATHS = {"/oauth/token", "/oauth/revoke"}

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?P<fragment>#.*)?")
_AUTHORITY = re.compile(r"(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]*\])(?::(?P<port>[0-9]*))?")
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?")
# What the URL standard escapes.
_IN_PATH = "\"<>`{}"
_IN_QUERY = "\"<>'"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~]*")

_OWNED = {
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "user-agent",
}
_MOST_HEADERS = 1000


class Refused(Exception):
    """Why a request is not permitted: the contract's code, and a message that repeats nothing of the request."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Permit:
    """A request line that the policy permits. This is sent, not the text that it was made from."""

    method: str
    host: str
    target: str
    destination: Destination


@dataclass(frozen=True)
class Egress:
    """The policy of one connection."""

    environment: str
    token_info_probes: bool = False
    """Whether every environment's login origin may be asked what a token is: for a diagnosis alone."""

    def permit(self, method: str, url: str, uses_secret: bool) -> Permit:
        """Checks a request line. ``uses_secret`` tells whether the body is to hold the client secret."""
        if method not in _METHODS:
            raise Refused("invalid-request", "the method is not one of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS")
        host, target = _plain(url)
        destination = self._destination(method, host, target)
        if uses_secret and not (destination == "login" and method == "POST" and target in _SECRET_PATHS):
            raise Refused("secret-not-permitted", "the client secret is sent in a POST to the connection's token or revocation endpoint only")
        return Permit(method, host, target, destination)

    def _destination(self, method: str, host: str, target: str) -> Destination:
        if host == LOGIN_HOSTS[self.environment]:
            return "login"
        if host in API_HOSTS[self.environment]:
            return "api"
        is_probe = method == "GET" and target == _TOKEN_INFO and host in LOGIN_HOSTS.values()
        if self.token_info_probes and is_probe:
            return "token-info-probe"
        raise Refused("origin-not-permitted", "the URL's origin is neither the connection's login origin nor its API origin")


def permit_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Checks the headers that the plugin asks for, and returns them with their names in lower case."""
    permitted: list[tuple[str, str]] = []
    for name, value in headers:
        permitted.append((_permitted_name(name), _permitted_value(value)))
    if len(permitted) > _MOST_HEADERS:
        raise Refused("invalid-request", "there are too many headers")
    if sum(name == "authorization" for name, _ in permitted) > 1:
        raise Refused("invalid-request", "there is more than one authorization header")
    return permitted


def _permitted_name(name: str) -> str:
    if _TOKEN.fullmatch(name) is None:
        raise Refused("invalid-request", "a header's name is not a token")
    name = name.lower()
    if name in _OWNED or name.startswith("proxy-"):
        raise Refused("invalid-request", "a header is the host's to set")
    return name


def _permitted_value(value: str) -> str:
    if _VALUE.fullmatch(value) is None:
        raise Refused("invalid-request", "a header's value has a character that is not permitted")
    return value


def _plain(url: str) -> tuple[str, str]:
    """Takes a URL that reads the same to every parser apart: its host in lower case, and its path with query."""
    parts = _URL.fullmatch(url)
    if parts is None or any(not "!" <= c <= "~" or c == "\\" for c in url):
        raise _malformed()
    if "@" in parts["authority"]:
        raise Refused("origin-not-permitted", "the URL has user information")
    if parts["scheme"].lower() != "https":
        raise Refused("origin-not-permitted", "the URL's scheme is not https")
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None:
        raise _malformed()
    if parts["fragment"] is not None:
        raise Refused("invalid-request", "the URL has a fragment")
    return _plain_host(authority["host"].lower(), authority["port"]), _normal(parts["path"]) + _escaped(parts["query"] or "", _IN_QUERY)


def _malformed() -> Refused:
    return Refused("invalid-request", "the URL is not an absolute URL in plain ASCII")


def _plain_host(host: str, port: str | None) -> str:
    if _is_address(host):
        raise Refused("origin-not-permitted", "the URL's host is an address, not a name")
    number = 443 if not port else int(port)
    if number > 65535:
        raise _malformed()
    if number != 443:
        raise Refused("origin-not-permitted", "the URL names a port")
    if host.endswith("."):
        raise Refused("origin-not-permitted", "the URL's host ends with a dot")
    if port not in (None, "443"):
        raise _malformed()
    return host


def _is_address(host: str) -> bool:
    """As the URL standard has it: what ends in a number is an address, or nothing."""
    try:
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:-1])
            return True
        if _ENDS_IN_NUMBER.fullmatch(host):
            socket.inet_aton(host.removesuffix("."))
            return True
    except (ValueError, OSError):
        raise _malformed() from None
    return False


def _normal(path: str) -> str:
    """Takes dots out of a path as the URL standard does (`path state`): ``/a/../b`` is ``/b``."""
    segments: list[str] = []
    given = path.split("/")[1:]
    for place, segment in enumerate(given):
        dots = segment.lower().replace("%2e", ".")
        if dots == "..":
            del segments[-1:]
        elif dots != ".":
            segments.append(segment)
            continue
        if place == len(given) - 1:
            segments.append("")
    return _escaped("/" + "/".join(segments), _IN_PATH)


def _escaped(text: str, characters: str) -> str:
    return "".join(f"%{ord(c):02X}" if c in characters else c for c in text)
