"""Asks the host for what it must refuse, as a plugin would, and says what came of it: a line `CODE SENT` for each.

The first argument is the address of a listener on this machine to which nothing may connect.
"""

import sys
from itertools import chain

from procore_auth import Config
from procore_auth.binding import record
from procore_auth.capabilities import Capabilities

LOGIN, API = "https://login-sandbox.procore.com", "https://sandbox.procore.com"
TOKEN = f"{LOGIN}/oauth/token"
address = sys.argv[1]
port = address.rpartition(":")[2]

URLS = [
    f"https://{address}/",
    f"http://{address}/",
    f"https://localhost:{port}/",
    f"http://localhost:{port}/",
    f"https://sandbox.procore.com@{address}/",
    f"https://login-sandbox.procore.com:{port}/oauth/token",
    f"https://2130706433:{port}/",
    f"https://0x7f000001:{port}/",
    f"https://[::ffff:127.0.0.1]:{port}/",
    "https://login-sandbox.procore.com./oauth/token",
    "https://login.procore.com/oauth/token",
    "https://api.procore.com/rest/v1.0/me",
    "https://sandbox.procore.com.example.com/",
    "https://example.com/?sandbox.procore.com",
    "https://sandbox.procore.com:80/",
    "http://sandbox.procore.com/",
    "ftp://sandbox.procore.com/",
    "https://login%2Dsandbox.procore.com/",
    "https://sandbox.procore.com\\@example.com/",
    "https://sandbox.procore.com/\r\nHost: example.com",
    "https://sandbox.procore.com/#fragment",
    "//sandbox.procore.com/",
    "",
]
HEADERS = [
    ("host", "example.com"),
    ("Transfer-Encoding", "chunked"),
    ("content-length", "0"),
    ("proxy-authorization", "x"),
    ("x\r\ny", "z"),
    ("x: y", "z"),
    ("", "z"),
    ("x", "a\r\nb: c"),
    ("x", "a\nb"),
    ("x", "a\0b"),
    ("x", "ä"),
]


def request(method="GET", url=API, headers=(), body=None):
    pairs = [record(name=name, value=value) for name, value in headers]
    return record(method=method, url=url, headers=pairs, body=body, timeout=5000)


def secret():
    return [record(name="client_secret", value=None)]


requests = chain(
    (request(url=url) for url in URLS),
    (request(method="POST", url=url, body=secret()) for url in URLS),
    (request(headers=[header]) for header in HEADERS),
    [
        request(headers=[("authorization", "Bearer a"), ("Authorization", "Bearer b")]),
        request(method="CONNECT"),
        request(method="get"),
        request(method="GET / HTTP/1.1\r\nx:"),
        # The client secret, where it is not due.
        request(method="POST", url=f"{API}/oauth/token", body=secret()),
        request(method="POST", url=f"{LOGIN}/oauth/authorize", body=secret()),
        request(method="POST", url=f"{TOKEN}?a=b", body=secret()),
        request(method="GET", url=TOKEN, body=secret()),
        request(method="POST", url="https://login.procore.com/oauth/token", body=secret()),
        # Stored tokens, as a body.
        request(method="POST", url=API, body="session"),
        request(method="POST", url=TOKEN, body="body-1"),
    ],
)

lent = Config.load().open()._lent
for asked in requests:
    answer = Capabilities(lent, 60, probing=False).send(asked)
    shown = answer.payload
    print(f"{answer.tag} {shown.code} {shown.sent}" if answer.tag == "err" else f"ok {shown.status}")
