"""A connection to Procore: what an agent uses."""

from __future__ import annotations

import json as encoding
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .answers import (
    Diagnosis,
    Identity,
    Kept,
    Login,
    ParkedRequest,
    ReplayReport,
    Response,
    Status,
    Token,
    Visit,
)
from .binding import record
from .call import Call
from .clock import Clock, SystemClock
from .egress import Egress
from .errors import AuthError, InvalidInput
from .faults import Faults
from .holding_store import HoldingStore
from .http_client import HttpClient
from .https_client import HttpsClient
from .journal import Journal, LoggingJournal
from .lent import Lent
from .lift import lift
from .limits import Limits
from .pause import Pause
from .plugin import Plugin
from .recorder import Recorder
from .secret import Secret
from .settings import Settings
from .store import Store
from .token_cache import TokenCache

_MOST_BODY = 4 << 20
_WELL = ("healthy", "unverified")


class Connection:
    """One connection: one environment, one client id, one user or service account.

    Methods block, and may be called from any thread; in a program with asyncio, use :func:`asyncio.to_thread`. Several connections, threads
    and processes may share one store: they make one refresh together. Make connections after a fork, not before.

    Methods raise :class:`~procore_auth.AuthError`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        plugin: Plugin | None = None,
        http: HttpClient | None = None,
        clock: Clock | None = None,
        journals: Iterable[Journal] | None = None,
        limits: Limits | None = None,
        actor: str | None = None,
    ) -> None:
        """Puts a connection together. What is not given is the system's own; ``actor`` says in records who acts."""
        clock = clock or SystemClock()
        recorder = Recorder(settings.name, clock, [LoggingJournal()] if journals is None else journals)
        self._plugin = plugin or Plugin.default()
        self._lent = Lent(
            settings=settings,
            actor=actor or f"{socket.gethostname()}/{os.getpid()}",
            egress=Egress(settings.environment),
            http=http or HttpsClient(),
            clock=clock,
            store=HoldingStore(store, clock, recorder),
            recorder=recorder,
            faults=Faults(recorder),
            limits=(limits or Limits()).for_policy(settings.policy),
        )
        self._cache = TokenCache(clock)
        self._pause = Pause(clock)

    @classmethod
    def from_config(cls, path: Path | str | None = None, name: str | None = None, *, plugin: Plugin | None = None) -> Connection:
        """Opens a connection of the tool's configuration file: the one that is named, or else its default.

        It shares the store, the journal and everything else with `procore-auth`. Where no path is given, the file is looked for where the
        tool looks for it.
        """
        from .config import Config

        return Config.load(path).open(name, plugin=plugin)

    def access_token(self) -> Token:
        """Returns an access token that is good now, refreshed where that was due. Ask before each call; it costs nothing."""
        return self._cache.current() or self._token("access-token")

    def renew_rejected(self, rejected: Secret) -> Token:
        """Returns a token to use instead of one that the server answered with 401, for callers with an HTTP client of their own."""
        self._cache.clear(where=lambda token: token.bearer == rejected)
        try:
            return self._token("renew-rejected", rejected.expose())
        except AuthError:
            # Calls that still run may have read the rejected token.
            self._cache.clear()
            raise

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes | str = b"",
        json: Any = None,
        company_id: int | None = None,
        timeout: float | None = None,
        idempotent: bool | None = None,
    ) -> Response:
        """Calls Procore's API with a fresh token: answers a 401 with one renewal, waits as 429 and 503 ask, repeats only what is safe.

        ``path`` is absolute, such as ``/rest/v1.0/me``: a call cannot leave the API host. Every status is a response: look at it.
        """
        outcome = self._send(method, path, headers, body, json, company_id, timeout, idempotent, park=False, order_key=None)
        assert isinstance(outcome, Response)
        return outcome

    def request_or_park(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes | str = b"",
        json: Any = None,
        company_id: int | None = None,
        timeout: float | None = None,
        idempotent: bool | None = None,
        order_key: str | None = None,
    ) -> Response | Kept:
        """As :meth:`request`; where the request cannot be sent now, it is kept in the store and replayed later, by whichever host."""
        return self._send(method, path, headers, body, json, company_id, timeout, idempotent, park=True, order_key=order_key)

    def status(self) -> Status:
        """Tells how the connection is. Sends nothing."""
        return self._with_what_is_held(lift(Status, self._call("auth", "status")))

    def verify(self) -> Identity:
        """Asks Procore who the token acts as, and keeps the answer as evidence."""
        return lift(Identity, self._call("auth", "verify"))

    def begin_login(self) -> Login:
        """Begins a sign-in: a person opens the link that is returned."""
        return lift(Login, self._call("auth", "begin-login"))

    def finish_login(self, callback: Secret | str) -> Status:
        """Finishes the sign-in with the address that the browser ended on, or with the code where Procore showed one."""
        text = callback.expose() if isinstance(callback, Secret) else callback
        return lift(Status, self._replace("finish-login", text))

    def adopt(self, reply: bytes, *, replace: bool = False) -> Status:
        """Takes over tokens from a script: the bytes of a token endpoint's reply as it saved them."""
        return lift(Status, self._replace("adopt", reply, replace))

    def upkeep(self, next_visit: float | None = None) -> Visit:
        """Makes one visit of the keeper: refreshes what is due within ``next_visit`` seconds, and replays what is parked."""
        span = None if next_visit is None else int(next_visit * 1000)
        deadline = self._lent.limits.replay_deadline
        visit = lift(Visit, self._call("auth", "upkeep", span, self._pause.until(), deadline=deadline))
        self._pause.note(visit.pause_until)
        if visit.status.health in _WELL:
            self._lent.recorder.forget()
        return replace(visit, status=self._with_what_is_held(visit.status))

    def revoke(self) -> None:
        """Signs out: revokes the tokens at the server, then deletes them."""
        self._replace("revoke")

    def forget(self) -> None:
        """Deletes the tokens without telling the server."""
        self._replace("forget")

    def parked(self) -> list[ParkedRequest]:
        """Lists the parked requests, in their order."""
        return [lift(ParkedRequest, kept) for kept in self._call("api", "parked")]

    def replay(self, id: str | None = None) -> ReplayReport:
        """Replays the queued requests, or the one that is named, whatever its state."""
        deadline = self._lent.limits.replay_deadline
        report = lift(ReplayReport, self._call("api", "replay", id, self._pause.until(), deadline=deadline))
        self._pause.note(report.pause_until)
        return report

    def discard(self, id: str) -> None:
        """Deletes a parked request."""
        self._call("api", "discard", id)

    def diagnose(self) -> list[Diagnosis]:
        """Looks for the cause of trouble, most likely first; empty where all is well. Spends nothing."""
        return [lift(Diagnosis, found) for found in self._call("advice", "diagnose", probing=True)]

    def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]],
        body: bytes | str,
        json: Any,
        company_id: int | None,
        timeout: float | None,
        idempotent: bool | None,
        *,
        park: bool,
        order_key: str | None,
    ) -> Response | Kept:
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        if json is not None:
            body = encoding.dumps(json)
            pairs.append(("content-type", "application/json"))
        content = body.encode() if isinstance(body, str) else body
        _check_size(content)
        request = record(
            method=method,
            path=path,
            headers=[record(name=name, value=value) for name, value in pairs],
            body=content,
            company_id=company_id,
            timeout=None if timeout is None else int(timeout * 1000),
            idempotent=idempotent,
            park=park,
            order_key=order_key,
            # The plugin remembers nothing between calls: until when the rate limit lets nothing through is the host's to keep.
            not_before=self._pause.until(),
        )
        own = self._lent.settings.policy.call_timeout if timeout is None else timeout
        try:
            outcome = self._call("api", "send", request, deadline=self._lent.limits.deadline + own)
        except AuthError as error:
            # It would be so again.
            if error.code == "rate-limited":
                self._pause.note(error.retry_at)
            raise
        answer: Response | Kept = lift(Response, outcome.payload) if outcome.tag == "answered" else lift(Kept, outcome.payload)
        self._pause.note(answer.pause_until)
        if isinstance(answer, Response):
            self._lent.recorder.forget()
        return answer

    def _call(self, interface: str, function: str, *arguments: Any, deadline: float | None = None, probing: bool = False) -> Any:
        span = self._lent.limits.deadline if deadline is None else deadline
        call = Call(self._plugin, self._lent, interface, function, deadline=span, probing=probing)
        try:
            return call.run(*arguments)
        finally:
            if call.tokens_in_doubt:
                self._cache.clear()

    def _token(self, function: str, *arguments: Any) -> Token:
        """Gets a token from the plugin, and keeps it unless the cache was changed meanwhile."""
        generation = self._cache.generation()
        call = Call(self._plugin, self._lent, "auth", function, deadline=self._lent.limits.deadline)
        token = lift(Token, call.run(*arguments))
        self._lent.recorder.forget()
        self._cache.fill(token, generation)
        return token

    def _replace(self, function: str, *arguments: Any) -> Any:
        """Makes a call that changes whose tokens they are: nothing from before it is served during it or after it."""
        self._cache.clear()
        try:
            return self._call("auth", function, *arguments)
        finally:
            self._cache.clear()

    def _with_what_is_held(self, status: Status) -> Status:
        """Tokens that live in this process alone are at risk, unless things are worse."""
        return replace(status, health="at-risk") if self._lent.store.holds and status.health in _WELL else status


def _check_size(body: bytes) -> None:
    if len(body) > _MOST_BODY:
        raise InvalidInput(
            Diagnosis(
                "body-too-large",
                f"The body has {len(body)} bytes; this host takes {_MOST_BODY}.",
                "Bodies cross into the plugin byte by byte.",
                "Send it with an HTTP client of your own and `access_token()`.",
                [],
            )
        )
