"""What a connection keeps between the plugin's calls. The calls are the test's own."""

import unittest
from typing import Any
from unittest import mock

from wasmtime.component import Variant

from procore_auth import AuthError, ClientCredentials, Connection, Diagnosis, InvalidInput, Policy, Response, Secret, Settings, Unavailable
from procore_auth.binding import record
from procore_auth.errors import internal
from procore_auth.limits import Limits

from .full_disk import Disk, Waking

FOREVER = 1 << 52


class Calls:
    """Stands in for the class of calls."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.arguments: tuple[Any, ...] = ()
        self.answer: Any = None
        self.tokens_in_doubt = False
        self.deadline = 0.0

    def __call__(self, plugin: Any, lent: Any, interface: str, function: str, *, deadline: float, probing: bool = False) -> "Calls":
        self.made.append(function)
        self.deadline = deadline
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


def status(health: str) -> Any:
    unknown = dict.fromkeys(("token", "last_evidence", "identity", "incident"))
    return record(health=health, api_origin="https://sandbox.procore.com", refreshes=1, parked=0, undecided=0, **unknown)


def visit(health: str) -> Any:
    return record(refreshed=True, replayed=0, come_back_at=FOREVER, pause_until=None, status=status(health))


class Hands:
    """A wall clock and an elapsed time, which a test moves."""

    def __init__(self) -> None:
        self.wall, self.span = 1_700_000_000_000, 50

    def now(self) -> int:
        return self.wall

    def elapsed(self) -> int:
        return self.span

    def sleep(self, milliseconds: int) -> None:
        self.wall, self.span = self.wall + milliseconds, self.span + milliseconds


class Kept(unittest.TestCase):
    def setUp(self) -> None:
        self.calls = Calls()
        patched = mock.patch("procore_auth.connection.Call", self.calls)
        patched.start()
        self.addCleanup(patched.stop)
        settings = Settings("acme", "sandbox", "id", Secret("hunter2"), ClientCredentials())
        self.clock = Hands()
        self.connection = Connection(settings, store=mock.Mock(), plugin=mock.Mock(), http=mock.Mock(), clock=self.clock)

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

    def not_before(self) -> int | None:
        """What the last call was told to wait for."""
        (request,) = self.calls.arguments
        asked: int | None = getattr(request, "not-before")
        return asked

    def test_the_rate_limits_pause_is_passed_on(self) -> None:
        pause = self.clock.now() + 60_000
        for pause_until, not_before in ((None, None), (pause, None), (pause - 1000, pause), (None, pause)):
            self.calls.answer = answered(pause_until)
            self.connection.request("GET", "/rest/v1.0/me")
            self.assertEqual(self.not_before(), not_before)

    def test_a_wall_clock_that_is_set_back_does_not_prolong_the_pause(self) -> None:
        self.calls.answer = answered(self.clock.now() + 60_000)
        self.connection.request("GET", "/rest/v1.0/me")
        self.calls.answer = answered()
        self.clock.wall -= 86_400_000
        self.connection.request("GET", "/rest/v1.0/me")
        self.assertEqual(self.not_before(), self.clock.now() + 60_000)
        self.clock.sleep(60_000)
        self.connection.request("GET", "/rest/v1.0/me")
        self.assertIsNone(self.not_before())

    def test_a_request_that_gave_up_on_the_rate_limit_holds_back_the_next(self) -> None:
        pause = self.clock.now() + 60_000
        self.calls.answer = Unavailable(Diagnosis("rate-limited", "", "", "", []), pause)
        with self.assertRaises(Unavailable):
            self.connection.request("GET", "/rest/v1.0/me")
        self.calls.answer = answered()
        self.connection.request("GET", "/rest/v1.0/me")
        self.assertEqual(self.not_before(), pause)

    def test_other_trouble_holds_nothing_back(self) -> None:
        self.calls.answer = Unavailable(Diagnosis("connect", "", "", "", []), self.clock.now() + 60_000)
        with self.assertRaises(Unavailable):
            self.connection.request("GET", "/rest/v1.0/me")
        self.calls.answer = answered()
        self.connection.request("GET", "/rest/v1.0/me")
        self.assertIsNone(self.not_before())

    def test_a_request_has_its_own_time_on_top(self) -> None:
        self.calls.answer = answered()
        for timeout, deadline in ((None, 120 + 60), (7, 120 + 7)):
            self.connection.request("GET", "/rest/v1.0/me", timeout=timeout)
            self.assertEqual(self.calls.deadline, deadline)

    def test_a_body_that_is_too_large_costs_nothing(self) -> None:
        with self.assertRaises(InvalidInput):
            self.connection.request("POST", "/rest/v1.0/projects", body=b"a" * (5 << 20))
        self.assertEqual(self.calls.made, [])

    def test_json(self) -> None:
        self.calls.answer = answered()
        self.assertEqual(self.connection.request("POST", "/rest/v1.0/projects", json={"a": 1}).json(), {})
        (request,) = self.calls.arguments
        self.assertEqual((request.body, request.headers[0].value), (b'{"a": 1}', "application/json"))


class Unsaved(unittest.TestCase):
    """New tokens live in this process alone: it must not look well."""

    def setUp(self) -> None:
        self.calls, self.disk, self.clock = Calls(), Disk(), Waking()
        patched = mock.patch("procore_auth.connection.Call", self.calls)
        patched.start()
        self.addCleanup(patched.stop)
        settings = Settings("acme", "sandbox", "id", Secret("hunter2"), ClientCredentials())
        self.connection = Connection(settings, store=self.disk, plugin=mock.Mock(), http=mock.Mock(), clock=self.clock, journals=[])

    def health(self, of_plugin: str) -> str:
        """As both ways to ask tell it."""
        self.calls.answer = status(of_plugin)
        told = self.connection.status().health
        self.calls.answer = visit(of_plugin)
        self.assertEqual(self.connection.upkeep().status.health, told)
        return told

    def test_a_connection_with_unsaved_tokens_is_at_risk(self) -> None:
        self.assertEqual(self.health("healthy"), "healthy")
        store = self.connection._lent.store
        lock = store.lock(0)
        assert lock is not None
        self.disk.is_full = True
        # However the test ends: the thread that saves ends with it.
        self.addCleanup(self.clock.woken.release)
        self.addCleanup(setattr, self.disk, "is_full", False)
        store.hold("session", b"new", None)
        lock.free()
        for health in ("healthy", "unverified", "at-risk"):
            self.assertEqual(self.health(health), "at-risk")
        for health in ("unavailable", "misconfigured", "sign-in-required"):
            self.assertEqual(self.health(health), health)
        self.disk.is_full = False
        self.clock.woken.release()
        # The thread gives the store's lock up when all is saved.
        self.assertTrue(self.disk.locked.acquire(timeout=30))
        self.assertEqual(self.health("healthy"), "healthy")


class Deadlines(unittest.TestCase):
    def test_a_long_wait_for_the_lock_and_two_requests_for_a_token_fit_in(self) -> None:
        limits = Limits().for_policy(Policy(token_timeout=90, lock_wait=120))
        self.assertEqual((limits.deadline, limits.replay_deadline), (300, 600))
        limits = Limits(replay_deadline=1).for_policy(Policy())
        self.assertEqual((limits.deadline, limits.replay_deadline), (120, 105))


class Answers(unittest.TestCase):
    def test_a_success_is_ok_and_nothing_else(self) -> None:
        for code, is_ok in ((199, False), (200, True), (204, True), (299, True), (302, False), (304, False), (404, False), (500, False)):
            self.assertEqual(Response(code, [], b"", 1, None, None).ok, is_ok, code)
