"""Connects to another address than a host's own, as ``curl --connect-to`` does. For tests.

``login.procore.com:443=127.0.0.1:8443`` keeps TLS and the name that the certificate must bear;
``login.procore.com:443=http://127.0.0.1:3000`` speaks plain HTTP, and accepts a loopback address only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

_FORM = re.compile(
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9_.-]*[A-Za-z0-9]):(?P<port>[0-9]{1,5})="
    r"(?:(?P<scheme>https?)://)?(?P<address>[0-9.]+|\[[0-9A-Fa-f:.]+\]):(?P<to>[0-9]{1,5})"
)


@dataclass(frozen=True)
class ConnectTo:
    """One override: where connections to a host and port really go."""

    host: str
    port: int
    address: str
    to_port: int
    is_plain: bool

    @classmethod
    def parse(cls, text: str) -> ConnectTo:
        """Reads an override. Fails with :class:`ValueError`."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError("an override reads HOST:PORT=ADDRESS:PORT, such as login.procore.com:443=127.0.0.1:8443")
        address = ip_address(match["address"].strip("[]"))
        is_plain = match["scheme"] == "http"
        if is_plain and not address.is_loopback:
            raise ValueError("http:// is accepted for a loopback address only: tokens would cross the network in the clear")
        ports = int(match["port"]), int(match["to"])
        if not all(0 < port < 65536 for port in ports):
            raise ValueError("a port is a number from 1 to 65535")
        return cls(match["host"].lower(), ports[0], str(address), ports[1], is_plain)
