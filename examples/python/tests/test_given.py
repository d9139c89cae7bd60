"""A caller's mistake is told as one, before the plugin sees it, and its value is not repeated."""

import math
import unittest
from typing import Any
from unittest import mock

from procore_auth import AuthorizationCode, ClientCredentials, Connection, InvalidInput, Policy, Secret, Settings

SETTINGS: dict[str, Any] = {
    "name": "acme",
    "environment": "sandbox",
    "client_id": "id",
    "client_secret": Secret("hunter2"),
    "grant": ClientCredentials(),
}


class Arguments(unittest.TestCase):
    def setUp(self) -> None:
        patched = mock.patch("procore_auth.connection.Call", side_effect=AssertionError("the plugin was called"))
        patched.start()
        self.addCleanup(patched.stop)
        self.connection = Connection(Settings(**SETTINGS), store=mock.Mock(), plugin=mock.Mock(), http=mock.Mock())

    def refused(self, why: str, function: str, *arguments: Any, **options: Any) -> None:
        with self.subTest(why), self.assertRaisesRegex(InvalidInput, why) as raised:
            getattr(self.connection, function)(*arguments, **options)
        self.assertNotIn("hunter2", f"{raised.exception} {raised.exception.diagnosis}")

    def refused_request(self, why: str, **options: Any) -> None:
        for function in ("request", "request_or_park"):
            self.refused(why, function, **{"method": "GET", "path": "/rest/v1.0/me", **options})

    def test_numbers_that_would_become_others(self) -> None:
        for company in (-1, 1 << 64, 1 << 70, 1.0, True, "4001"):
            self.refused_request("company_id", company_id=company)
        for timeout in (-1, math.inf, math.nan, 10**400, "30", True):
            self.refused_request("timeout", timeout=timeout)
            self.refused("next_visit", "upkeep", timeout)

    def test_what_is_no_text(self) -> None:
        for text in (7, None, b"GET", "\ud800", ["hunter2"]):
            self.refused_request("method", method=text)
            self.refused_request("path", path=text)
            self.refused("callback", "finish_login", text)
            self.refused("rejected", "renew_rejected", text)
            self.refused(" id ", "discard", text)
        for text in (7, b"a", "\ud800"):
            self.refused("order_key", "request_or_park", "GET", "/", order_key=text)
            self.refused(" id ", "replay", text)
        self.refused_request("idempotent", idempotent=1)

    def test_headers_are_named(self) -> None:
        for headers, why in (
            ({"User-Agent": "hunter2"}, "header user-agent"),
            ([("X-A", "a"), ("Proxy-Authorization", "hunter2")], "header proxy-authorization"),
            ([("X-A", "a"), ("hunter2: ", "a")], "header 2"),
            ({"X-A": "hunter2\r\nX-B: c"}, "header X-A"),
            ({"X-A": "hunter2 ä"}, "header X-A"),
            ({"X-A": 7}, "header X-A"),
            ({7: "a"}, "header 1"),
            ([("X-A", "a", "b")], "header 1"),
            (["X-A: hunter2"], "header 1"),
            ("X-A: hunter2", "headers"),
            (7, "headers"),
            (None, "headers"),
            ([("x", "a")] * 1001, "headers"),
        ):
            self.refused_request(why, headers=headers)

    def test_bodies(self) -> None:
        for body in (7, None, ["hunter2"], "\ud800"):
            self.refused_request("body", body=body)
        for value in (object(), math.nan, {("hunter2",): 1}, [b"hunter2"]):
            self.refused_request("json", json=value)
        self.refused_request("json", json=[1], body=b"hunter2")
        nested: list[Any] = []
        nested.append(nested)
        self.refused_request("json", json=nested)
        self.refused("reply", "adopt", "{}")
        self.refused("replace", "adopt", b"{}", replace=1)

    def test_a_reply_that_is_too_large(self) -> None:
        self.refused("5242880 bytes", "adopt", b"a" * (5 << 20))


class OfSettings(unittest.TestCase):
    def refused(self, why: str, of: Any, **changes: Any) -> None:
        with self.subTest(changes), self.assertRaisesRegex(ValueError, why) as raised:
            of(**changes)
        self.assertNotIn("hunter2", str(raised.exception))

    def test_what_the_plugin_could_not_be_told(self) -> None:
        for changes in (
            {"name": 7},
            {"environment": ["sandbox"]},
            {"client_id": 7},
            {"client_id": " "},
            {"client_secret": "hunter2"},
            {"client_secret": Secret("\ud800")},
            {"client_secret": Secret("")},
            {"grant": "client-credentials"},
            {"grant": AuthorizationCode("")},
            {"company_id": -1},
            {"company_id": 1 << 70},
            {"company_id": "4001"},
            {"company_id": True},
        ):
            (name,) = changes
            why = {"name": "connection name", "grant": "grant|redirect_uri"}.get(name, name)
            self.refused(why, Settings, **{**SETTINGS, **changes})

    def test_the_policys_numbers(self) -> None:
        for changes in (
            {"refresh_percent": 80.5},
            {"refresh_percent": 0},
            {"refresh_jitter": -1},
            {"token_timeout": "30"},
            {"lock_wait": math.inf},
            {"call_timeout": math.nan},
            {"parked_count": 1 << 32},
            {"parked_bytes": 1 << 64},
            {"parked_bytes": 1e6},
            {"parked_age": -60},
            {"pkce": 1},
        ):
            (name,) = changes
            self.refused(name, Policy, **changes)
