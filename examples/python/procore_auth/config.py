"""The tool's configuration file: a Python agent and `procore-auth` share one.

Read are the keys that a host needs. What only the tool does (``alerts``, ``metrics``, ``export``, ``fallback``) is left to it;
``encryption`` is refused, since this host cannot read an encrypted store.
"""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import spans
from .answers import Diagnosis
from .connect_to import ConnectTo
from .errors import Misconfigured, StorageFailed, misconfigured
from .https_client import HttpsClient
from .journal import JsonLinesJournal, LoggingJournal
from .plugin import LoadError, Plugin
from .secret import Secret
from .settings import AuthorizationCode, ClientCredentials, Grant, Policy, Settings
from .store import FileStore, StoreFailure

if TYPE_CHECKING:
    from .connection import Connection

_LARGEST_SECRET = 64 * 1024
_SPANS = {"refresh_jitter", "token_timeout", "lock_wait", "call_timeout", "parked_age"}


@dataclass(frozen=True)
class Config:
    """A configuration file that was read. Errors are of the kind ``configuration``."""

    path: Path
    table: dict[str, Any]

    @classmethod
    def load(cls, path: Path | str | None = None) -> Config:
        """Reads a file: the named one, or else that in ``PROCORE_AUTH_CONFIG``, or else the user's, or else the system's."""
        found = _find(path)
        try:
            return cls(found, tomllib.loads(found.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            # What is wrong with TOML may stand beside a secret: the text is not repeated.
            why = error.strerror if isinstance(error, OSError) else "it is not TOML in UTF-8"
            raise _mistake(found, f"cannot be read: {why}") from None

    def open(self, name: str | None = None, *, plugin: Plugin | None = None) -> Connection:
        """Opens a connection: the named one, or else the default, or else the only one."""
        from .connection import Connection

        settings = self.settings(name)
        return Connection(
            settings,
            store=self._store(settings.name),
            plugin=plugin or self.plugin(),
            http=self._http(),
            journals=[LoggingJournal(), self._journal()],
        )

    def settings(self, name: str | None = None) -> Settings:
        """Returns the settings of a connection, its secrets included."""
        name = name or self._only_name()
        table = self._table("connections").get(name)
        if not isinstance(table, dict):
            raise self._mistake(f"has no connection {name!r}")
        if "encryption" in table or "encryption" in self.table:
            raise self._mistake("asks for an encrypted store, which this host cannot read; use the Rust host for it")
        try:
            return Settings(
                name=name,
                environment=table["environment"],
                client_id=self._text(table["client_id"], f"{name}.client_id"),
                client_secret=Secret(self._referred(table["client_secret"], f"{name}.client_secret")),
                grant=_grant(table),
                company_id=table.get("company_id"),
                policy=_policy(table.get("policy", {})),
            )
        except KeyError as error:
            raise self._mistake(f"does not say {error} of the connection {name}") from None
        except (TypeError, ValueError) as error:
            raise self._mistake(f"has a mistake in the connection {name}: {error}") from None

    def plugin(self) -> Plugin:
        """Loads the plugin that is named, with its digest where that is pinned; or else the default one."""
        named = self.table.get("plugin")
        try:
            if named is None:
                return Plugin.default()
            if isinstance(named, dict):
                return Plugin.from_file(self._resolve(named["path"]), sha256=named.get("sha256"))
            return Plugin.from_file(self._resolve(named))
        except (KeyError, LoadError) as error:
            raise misconfigured(
                "plugin-unusable", f"The plugin cannot be loaded: {error}", "It is missing, or another one.", "Use a matching pair."
            ) from None

    def _store(self, name: str) -> FileStore:
        try:
            return FileStore(self._state(), name)
        except StoreFailure as failure:
            diagnosis = Diagnosis(
                failure.code,
                f"The store cannot be used: {failure.message}.",
                "The folder of the tokens is not as it must be.",
                f"Mend it, or name another folder as `state` in {self.path}.",
                [],
            )
            raise StorageFailed(diagnosis) from None

    def _http(self) -> HttpsClient:
        network = self._table("network")
        extra_ca = network.get("extra_ca")
        try:
            return HttpsClient(
                extra_ca=None if extra_ca is None else self._resolve(extra_ca),
                connect_to=[ConnectTo.parse(text) for text in network.get("connect_to", [])],
            )
        except (OSError, ValueError) as error:
            raise self._mistake(f"has a mistake in `network`: {error}") from None

    def _journal(self) -> JsonLinesJournal:
        named = self.table.get("journal")
        path = self._state() / "journal.jsonl" if named is None else self._resolve(named)
        try:
            return JsonLinesJournal(path)
        except OSError as error:
            raise self._mistake(f"names a journal that cannot be opened: {path}: {error.strerror or error}") from None

    def _state(self) -> Path:
        named = self.table.get("state")
        if named is not None:
            return self._resolve(named)
        return _base("XDG_STATE_HOME", ".local/state") / "procore-auth"

    def _resolve(self, path: str) -> Path:
        """A path of the file is relative to the file's folder; ``~/`` is the user's home."""
        return self.path.parent / Path(path).expanduser()

    def _only_name(self) -> str:
        names = sorted(self._table("connections"))
        if "default_connection" in self.table:
            return str(self.table["default_connection"])
        if len(names) != 1:
            raise self._mistake(f"has {len(names)} connections; name one of: {', '.join(names) or 'none'}")
        return names[0]

    def _table(self, name: str) -> dict[str, Any]:
        table = self.table.get(name, {})
        return table if isinstance(table, dict) else {}

    def _text(self, written: Any, what: str) -> str:
        return written if isinstance(written, str) else self._referred(written, what)

    def _referred(self, written: Any, what: str) -> str:
        """Reads what a reference refers to. A secret that stands there itself is refused, and not shown."""
        if not isinstance(written, dict):
            raise self._mistake(f"is to refer to {what}, as {{ env = … }} or {{ file = … }}, not to hold it")
        if "env" in written:
            text = os.environ.get(str(written["env"]), "")
        elif "file" in written:
            text = self._secret_file(self._resolve(str(written["file"])), what)
        else:
            raise self._mistake(f"refers to {what} in a way that this host does not know: use `env` or `file`")
        if not text:
            raise self._mistake(f"refers to {what}, and there is nothing")
        return text

    def _secret_file(self, path: Path, what: str) -> str:
        try:
            # The open file is asked, so that it cannot be exchanged in between.
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or status.st_uid not in (0, os.geteuid()):
                    raise self._mistake(f"refers to {what} in {path}, which others can read; run: chmod 600 {path}")
                text = file.read(_LARGEST_SECRET).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise self._mistake(f"refers to {what} in {path}, which cannot be read: {type(error).__name__}") from None
        return text.removesuffix("\n").removesuffix("\r")

    def _mistake(self, what: str) -> Misconfigured:
        return _mistake(self.path, what)


def _mistake(path: Path, what: str) -> Misconfigured:
    return misconfigured("config", f"The configuration {path} {what}.", "It does not say what is needed.", f"Edit {path}.")


def _find(named: Path | str | None) -> Path:
    named = named or os.environ.get("PROCORE_AUTH_CONFIG")
    if named:
        return Path(named)
    candidates = [_base("XDG_CONFIG_HOME", ".config") / "procore-auth/config.toml", Path("/etc/procore-auth/config.toml")]
    return next((path for path in candidates if path.exists()), candidates[0])


def _base(variable: str, below_home: str) -> Path:
    named = Path(os.environ.get(variable, ""))
    return named if named.is_absolute() else Path.home() / below_home


def _grant(table: dict[str, Any]) -> Grant:
    if table["grant"] == "client-credentials":
        return ClientCredentials()
    if table["grant"] == "authorization-code":
        return AuthorizationCode(table["redirect_uri"])
    raise ValueError("grant is authorization-code or client-credentials")


def _policy(table: dict[str, Any]) -> Policy:
    known = {field.name for field in fields(Policy)}
    unknown = set(table) - known
    if unknown:
        raise ValueError(f"policy has no {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {name: spans.parse(value) if name in _SPANS else value for name, value in table.items()}
    return Policy(**values)
