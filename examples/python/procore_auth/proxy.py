"""The proxy that the environment names, in ``HTTPS_PROXY`` or ``ALL_PROXY``."""

from __future__ import annotations

import re
import urllib.request
from urllib.parse import unquote_to_bytes, urlsplit

import httpcore

from .errors import Misconfigured, misconfigured

_HOST = re.compile(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


def of_environment() -> httpcore.Proxy | None:
    """Returns the proxy; ``None`` where none is named. Fails with :class:`~procore_auth.Misconfigured`, which shows nothing of the URL."""
    known = urllib.request.getproxies()
    for scheme in ("https", "all"):
        if known.get(scheme):
            return _parsed(known[scheme], f"{scheme.upper()}_PROXY")
    return None


def _parsed(written: str, variable: str) -> httpcore.Proxy:
    try:
        parts = urlsplit(written if "://" in written else f"http://{written}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _unusable(variable, "is no URL with a host and a port") from None
    if parts.scheme not in ("http", "https"):
        raise _unusable(variable, "names a kind of proxy that this host does not use: http:// and https:// are those it does")
    if _HOST.fullmatch(host) is None or port == 0:
        raise _unusable(variable, "is no URL with a host and a port")
    auth = (unquote_to_bytes(parts.username), unquote_to_bytes(parts.password or "")) if parts.username else None
    host = f"[{host}]" if ":" in host else host
    return httpcore.Proxy(f"{parts.scheme}://{host}:{port or (443 if parts.scheme == 'https' else 80)}", auth=auth)


def _unusable(variable: str, why: str) -> Misconfigured:
    return misconfigured(
        "network",
        f"The network cannot be set up: {variable} {why}.",
        "The environment of this process, or the system's settings, name a proxy that cannot be one.",
        f"Write it as {variable}=http://proxy.example.com:3128, or unset it.",
    )
