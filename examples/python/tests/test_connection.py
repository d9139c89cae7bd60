"""What a connection keeps between the plugin's calls. The calls are the test's own."""

import time
import unittest
from typing import Any
from unittest import mock

from wasmtime.component import Variant

from procore_auth import AuthError, ClientCredentials, Connection, InvalidInput, Secret, Settings
from procore_auth.binding import record
from procore_auth.errors import internal

FOREVER = 1 << 52


class Calls:
    """Stands in for the class of calls."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.arguments: tuple[Any, ...] = ()
        self.answer: Any = None
        self.tokens_in_doubt = False

    def __call__(self, plugin: Any, lent: Any, interface: str, function: str, **_: Any) -> "Calls":
        self.made.append(function)
        return self

    def run(self, *arguments: Any) -> Any:
        self.arguments = arguments
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def token(bearer: str) -> Any:
    return record(bearer=bearer, refresh_at=FOREVER, expires_at=FOREVER)


def answered(pause_until: int | None = None) -> Any:
    return Variant("answered", record(status=200, headers=[], body=b"{}", attempts=1, diagnosis=None, pause_until=pause_until))


class Kept(unittest.TestCase):
    def setUp(self) -> None:
        self.calls = Calls()
        patched = mock.patch("procore_auth.connection.Call", self.calls)
        patched.start()
        self.addCleanup(patched.stop)
        settings = Settings("acme", "sandbox", "id", Secret("hunter2"), ClientCredentials())
        self.connection = Connection(settings, store=mock.Mock(), plugin=mock.Mock(), http=mock.Mock())

    def bearer(self, fresh: str = "another") -> str:
        self.calls.answer = token(fresh)
        return self.connection.access_token().bearer.expose()

    def test_a_token_is_asked_for_once(self) -> None:
        self.assertEqual([self.bearer("one"), self.bearer(), self.bearer()], ["one"] * 3)
        self.assertEqual(self.calls.made, ["access-token"])

    def test_a_call_that_leaves_doubt_ends_its_time(self) -> None:
        self.bearer("one")
        self.calls.answer, self.calls.tokens_in_doubt = answered(), True
        self.assertTrue(self.connection.request("GET", "/rest/v1.0/me").ok)
        self.assertEqual(self.bearer("two"), "two")

    def test_so_does_the_end_of_the_sign_in(self) -> None:
        self.bearer("one")
        self.calls.answer = None
        self.connection.forget()
        self.assertEqual(self.bearer("two"), "two")

    def test_nothing_from_before_is_handed_out_while_the_sign_in_ends(self) -> None:
        self.bearer("one")
        with mock.patch.object(self.calls, "run", lambda *_: self.assertIsNone(self.connection._cache.current())):
            self.connection.forget()

    def test_a_renewed_token_takes_the_rejected_ones_place(self) -> None:
        self.bearer("one")
        self.calls.answer = token("two")
        self.assertEqual(self.connection.renew_rejected(Secret("one")).bearer.expose(), "two")
        self.assertEqual(self.bearer(), "two")

    def test_where_none_can_be_had_nothing_is_handed_out(self) -> None:
        self.bearer("one")
        self.calls.answer = internal("code", "summary", "cause", "remedy")
        with self.assertRaises(AuthError):
            self.connection.renew_rejected(Secret("other"))
        self.assertEqual(self.bearer("two"), "two")

    def test_the_rate_limits_pause_is_passed_on(self) -> None:
        pause = time.time_ns() // 1_000_000 + 60_000
        for pause_until, not_before in ((None, None), (pause, None), (pause - 1000, pause), (None, pause)):
            self.calls.answer = answered(pause_until)
            self.connection.request("GET", "/rest/v1.0/me")
            (request,) = self.calls.arguments
            self.assertEqual(getattr(request, "not-before"), not_before)

    def test_a_body_that_is_too_large_costs_nothing(self) -> None:
        with self.assertRaises(InvalidInput):
            self.connection.request("POST", "/rest/v1.0/projects", body=b"a" * (5 << 20))
        self.assertEqual(self.calls.made, [])

    def test_json(self) -> None:
        self.calls.answer = answered()
        self.assertEqual(self.connection.request("POST", "/rest/v1.0/projects", json={"a": 1}).json(), {})
        (request,) = self.calls.arguments
        self.assertEqual((request.body, request.headers[0].value), (b'{"a": 1}', "application/json"))
