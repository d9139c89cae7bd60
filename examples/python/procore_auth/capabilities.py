"""The host's side of the contract: what a plugin call reaches when it calls an import.

One :class:`Capabilities` serves one call. Every import counts towards the call's limit and waits no longer than the call's deadline.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from . import stopped
from .binding import err, ok, record
from .egress import Egress, Refused, permit_headers
from .holding_store import Locked
from .http_client import HttpFailure, HttpRequest
from .lent import Lent
from .limits import host_calls_for_saving
from .settings import AuthorizationCode, Policy
from .stopped import Stopped
from .store import Conflict, Entry, StoreFailure, Write
from .store.contract import checked_key

_FORM = ("content-type", "application/x-www-form-urlencoded")
_TOKEN_ENDPOINT = "/oauth/token"
_BODY_PREFIX = "body-"
_MOST_RANDOM = 1024
_MOST_FIELDS, _LONGEST_NAME, _LONGEST_TEXT = 32, 64, 2048


class Capabilities:
    """What one plugin call has at hand and has used up."""

    def __init__(self, lent: Lent, deadline: float, *, probing: bool) -> None:
        """``deadline`` is in seconds from now; ``probing`` permits to ask the other environments about a token."""
        self._lent = lent
        self._deadline = lent.clock.elapsed() + int(deadline * 1000)
        self._egress: Egress = replace(lent.egress, token_info_probes=True) if probing else lent.egress
        self._host_calls_left = lent.limits.host_calls
        self._unsaved_reply: bytes | None = None
        self._lock: Locked | None = None
        self.tokens_in_doubt = False
        """Whether the plugin sent something to the login origin, or a token was refused: one from before may be no good now."""

    def functions(self) -> dict[str, dict[str, Callable[..., Any]]]:
        """Lists all functions of the contract's imports, by interface."""
        return {
            "types": {},
            "connection": {"settings": self.settings},
            "http": {"send": self.send},
            "clock": {"now": self.now, "elapsed": self.elapsed, "sleep": self.sleep},
            "random": {"bytes": self.random},
            "store": {
                "get": self.get,
                "put": self.put,
                "hold": self.hold,
                "delete": self.delete,
                "list": self.keys,
                "lock": self.lock,
                "unlock": self.unlock,
            },
            "journal": {"record": self.record},
        }

    def enter(self) -> None:
        """Counts a call of the host."""
        self._host_calls_left -= 1
        if self._host_calls_left < 0:
            raise stopped.TOO_MANY_HOST_CALLS

    def end(self, *, was_stopped: bool) -> None:
        """Keeps what a plugin that was stopped had received and not saved, and frees the lock."""
        try:
            if was_stopped and self._unsaved_reply is not None:
                self._lent.store.keep_unread(self._unsaved_reply)
        finally:
            self.unlock()

    # connection

    def settings(self) -> Any:
        """Tells which connection the call serves."""
        settings = self._lent.settings
        grant = settings.grant
        return record(
            name=settings.name,
            environment=settings.environment,
            client_id=settings.client_id,
            secret_fingerprint=settings.secret_fingerprint(),
            grant=grant.redirect_uri if isinstance(grant, AuthorizationCode) else None,
            company_id=settings.company_id,
            actor=self._lent.actor,
            policy=_policy(settings.policy),
        )

    # http

    def send(self, request: Any) -> Any:
        """Sends one request, if the egress policy permits it."""
        timeout = min(request.timeout, self._time_left()) / 1000
        try:
            if self._must_save():
                raise HttpFailure(
                    "too-many-host-calls",
                    "the call is near the end of its host calls, and what is left is for saving",
                    sent=False,
                )
            prepared = self._prepared(request)
            if timeout <= 0:
                raise HttpFailure("timeout", "no time was left for the request", sent=False)
            reply = self._lent.http.send(prepared, timeout, self._lent.limits.reply_size)
        except HttpFailure as failure:
            return err(record(code=failure.code, message=failure.message, sent=failure.sent))
        except Refused as refused:
            return err(record(code=refused.code, message=refused.message, sent=False))
        self.tokens_in_doubt |= reply.status == 401
        if request.url.endswith(_TOKEN_ENDPOINT) and 200 <= reply.status < 300:
            self._unsaved_reply = reply.body
        headers = [record(name=name, value=value) for name, value in reply.headers]
        return ok(record(status=reply.status, headers=headers, body=reply.body))

    def _prepared(self, request: Any) -> HttpRequest:
        """Applies the egress policy, and fills in the client secret where it belongs."""
        form = request.body if isinstance(request.body, list) else []
        uses_secret = any(field.value is None for field in form)
        permit = self._egress.permit(request.method, request.url, uses_secret)
        headers = permit_headers((header.name, header.value) for header in request.headers)
        self.tokens_in_doubt |= permit.destination == "login"
        if isinstance(request.body, list):
            headers = [header for header in headers if header[0] != _FORM[0]] + [_FORM]
            body = self._encoded(form, may_hold_secret=permit.destination == "login")
        elif isinstance(request.body, str):
            body = self._stored_body(request.body, permit.destination)
        else:
            body = request.body or b""
        return HttpRequest(permit.method, permit.host, permit.target, headers, body)

    def _encoded(self, form: list[Any], *, may_hold_secret: bool) -> bytes:
        # The policy has said so already; the secret itself is handed out on this line's word alone.
        secret = self._lent.settings.client_secret if may_hold_secret else None
        pairs = []
        for field in form:
            if field.value is None and secret is None:
                raise Refused("secret-not-permitted", "the client secret goes to the login origin only")
            value = field.value if field.value is not None or secret is None else secret.expose()
            pairs.append((field.name, value))
        return urlencode(pairs).encode()

    def _stored_body(self, key: str, destination: str) -> bytes:
        if destination != "api" or not key.startswith(_BODY_PREFIX):
            raise Refused("invalid-request", "only a stored body may be sent, and only to the API")
        try:
            entry = self._lent.store.get(key)
        except StoreFailure as failure:
            raise HttpFailure("store", str(failure), sent=False) from None
        if entry is None:
            raise HttpFailure("no-such-entry", "the stored body does not exist", sent=False)
        return entry.value

    def _must_save(self) -> bool:
        return self._host_calls_left < host_calls_for_saving(self._lent.settings.policy)

    # clock

    def now(self) -> int:
        """Tells the wall clock."""
        return self._lent.clock.now()

    def elapsed(self) -> int:
        """Tells the monotonic clock."""
        return self._lent.clock.elapsed()

    def sleep(self, duration: int) -> None:
        """Waits, but not beyond the deadline."""
        span = min(duration, self._time_left())
        if span > 0:
            self._lent.clock.sleep(span)

    def _time_left(self) -> int:
        return max(self._deadline - self._lent.clock.elapsed(), 0)

    # random

    def random(self, count: int) -> bytes:
        """Gives bytes from the system's generator for keys."""
        if count > _MOST_RANDOM:
            raise Stopped.misuse("it asked for too many random bytes")
        return os.urandom(count)

    # store

    def get(self, key: str) -> Any:
        """Reads an entry."""
        try:
            entry = self._lent.store.get(key)
        except StoreFailure as failure:
            return err(_failure(failure))
        return ok(_entry(entry))

    def put(self, key: str, value: bytes, expected: int | None) -> Any:
        """Writes an entry."""
        try:
            written = self._lent.store.put(key, value, expected)
        except StoreFailure as failure:
            return err(_failure(failure))
        if not isinstance(written, Conflict):
            # The plugin can note again what it has told.
            self._lent.recorder.forget()
            self._unsaved_reply = None
        return ok(_write(written))

    def hold(self, key: str, value: bytes, expected: int | None) -> int:
        """Keeps in memory what could not be written."""
        try:
            checked_key(key)
        except StoreFailure:
            raise Stopped.misuse("it held an invalid key") from None
        if self._lock is None:
            raise Stopped.misuse("it held an entry without the lock")
        self._unsaved_reply = None
        return self._lent.store.hold(key, value, expected)

    def delete(self, key: str, expected: int) -> Any:
        """Deletes an entry."""
        try:
            return ok(_write(self._lent.store.delete(key, expected)))
        except StoreFailure as failure:
            return err(_failure(failure))

    def keys(self, prefix: str) -> Any:
        """Lists keys. The binding does not tag this result: its cases are of different types."""
        try:
            return self._lent.store.keys(prefix)
        except StoreFailure as failure:
            return _failure(failure)

    def lock(self, wait: int) -> Any:
        """Takes the connection's lock. The binding does not tag this result."""
        if self._lock is not None:
            raise Stopped.misuse("it locked twice")
        try:
            self._lock = self._lent.store.lock(min(wait, self._time_left()) / 1000)
        except StoreFailure as failure:
            return _failure(failure)
        return self._lock is not None

    def unlock(self) -> None:
        """Frees the lock."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.free()

    # journal

    def record(self, event: Any) -> None:
        """Records an event, within bounds."""
        fields = [(_shortened(field.name, _LONGEST_NAME), _shortened(field.value, _LONGEST_TEXT)) for field in event.fields[:_MOST_FIELDS]]
        code, message = _shortened(event.code, _LONGEST_NAME), _shortened(event.message, _LONGEST_TEXT)
        self._lent.recorder.record_of_plugin(event.severity, code, message, fields)


def _policy(policy: Policy) -> Any:
    return record(
        refresh_percent=policy.refresh_percent,
        refresh_jitter=int(policy.refresh_jitter * 1000),
        token_timeout=int(policy.token_timeout * 1000),
        lock_wait=int(policy.lock_wait * 1000),
        call_timeout=int(policy.call_timeout * 1000),
        parked_count=policy.parked_count,
        parked_bytes=policy.parked_bytes,
        parked_age=int(policy.parked_age * 1000),
        pkce=policy.pkce,
    )


def _entry(entry: Entry | None) -> Any:
    if entry is None:
        return None
    return record(value=entry.value, revision=entry.revision, provenance=entry.provenance)


def _write(written: Write) -> Any:
    """The binding does not tag ``write``: its cases are of different types."""
    return _entry(written.current) if isinstance(written, Conflict) else written.revision


def _failure(failure: StoreFailure) -> Any:
    return record(code=failure.code, message=failure.message)


def _shortened(text: str, most: int) -> str:
    """Cuts at a number of bytes, as the other hosts do, and between characters."""
    content, mark = text.encode(errors="replace"), "…"
    if len(content) <= most:
        return text
    return content[: most - len(mark.encode())].decode(errors="ignore") + mark
