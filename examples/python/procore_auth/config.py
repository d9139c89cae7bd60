"""The tool's configuration file: a Python agent and `procore-auth` share one, and it means the same to both.

The whole file is checked when it is loaded, as the tool does it: unknown keys are refused everywhere, and a mistake is told with its line
and column. What only the tool does (``alerts``, ``metrics``, ``export``, ``fallback``) is left to it, but for the shape of the tables.
Refused are ``encryption`` and secrets in the keyring: this host cannot read those.
"""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import config_place, config_shape, regular_file, spans
from .answers import Diagnosis
from .config_shape import Fault
from .connect_to import ConnectTo
from .errors import Misconfigured, StorageFailed, misconfigured
from .https_client import HttpsClient
from .journal import JsonLinesJournal, LoggingJournal
from .plugin import LoadError, NotPinned, Plugin
from .secret import Secret
from .settings import AuthorizationCode, ClientCredentials, Grant, Policy, Settings
from .store import FileStore, StoreFailure

if TYPE_CHECKING:
    from .connection import Connection

_LARGEST = 4 << 20
_LARGEST_SECRET = 64 * 1024
_SPANS = {"refresh_jitter", "token_timeout", "lock_wait", "call_timeout", "parked_age"}
_LONGEST_VARIABLE = 64
_LONGEST_SUFFIX = 11
_TOKEN = re.compile(r"[A-Za-z0-9_-]{20}")


@dataclass(frozen=True)
class Config:
    """A configuration file that was read. Errors are of the kind ``configuration``."""

    path: Path
    table: dict[str, Any]
    text: str = field(default="", repr=False)

    @classmethod
    def load(cls, path: Path | str | None = None) -> Config:
        """Reads a file: the named one, or else that in ``PROCORE_AUTH_CONFIG``, or else the user's, or else the system's.

        One that every account can write to is refused: whoever writes to it can have `procore-auth` run programs.
        """
        found = _find(path)
        try:
            content, status = regular_file.read(found, _LARGEST)
            text = content.decode("utf-8-sig")
        except (OSError, ValueError) as error:
            raise _unreadable(found, error) from None
        if status.st_mode & 0o002:
            raise _writable(found, status.st_mode)
        try:
            config = cls(found, tomllib.loads(text), text)
        except (ValueError, RecursionError) as error:
            raise _no_toml(found, error) from None
        config._check()
        return config

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
        if table is None:
            names = ", ".join(self._table("connections"))
            raise _explained("config-unknown-connection", f"{self.path} has no connection {name}.", f"Name one of these: {names}.")
        self._refuse_encryption(name, table)
        try:
            secret = self._secret(table["client_secret"], ("connections", name, "client_secret"))
            client_id = self._client_id(table["client_id"], ("connections", name, "client_id"))
            return _settings(name, table, client_id, Secret(secret))
        except Fault as fault:
            raise self._mistake(fault) from None

    def plugin(self) -> Plugin:
        """Loads the plugin that is named, with its digest where that is pinned; or else the default one."""
        named = self.table.get("plugin", {})
        path, sha256 = (named, None) if isinstance(named, str) else (named.get("path"), named.get("sha256"))
        try:
            return Plugin.default(sha256=sha256) if path is None else Plugin.from_file(self._resolve(path), sha256=sha256)
        except LoadError as error:
            code = "plugin-not-pinned" if isinstance(error, NotPinned) else "plugin"
            what = f"The plugin cannot be loaded: {error}."
            raise misconfigured(code, what, "It is missing, or another one.", "Use a matching pair.") from None

    def _check(self) -> None:
        """Checks all that can be checked without reading a secret."""
        try:
            config_shape.check(self.table)
            for name, table in self._table("connections").items():
                _settings(name, table, "id", Secret("secret"))
            default = self.table.get("default_connection")
            if default is not None and default not in self._table("connections"):
                known = ", ".join(self._table("connections"))
                raise Fault(("default_connection",), "there is no such connection", f"name one of: {known}")
            self._overrides()
        except Fault as fault:
            raise self._mistake(fault) from None

    def _refuse_encryption(self, name: str, table: dict[str, Any]) -> None:
        if "encryption" in table or "encryption" in self.table:
            raise _explained(
                "key-unavailable",
                f"{self.path} asks for an encrypted store of the connection {name}, which this host cannot read.",
                "Use the Rust host for it.",
            )

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
        extra_ca = self._table("network").get("extra_ca")
        try:
            return HttpsClient(extra_ca=None if extra_ca is None else self._resolve(extra_ca), connect_to=self._overrides())
        except OSError as error:
            what = f"The network cannot be set up: {self._resolve(extra_ca)}: {error.strerror or 'there is no certificate in it'}."
            raise _explained("network", what, "Check [network] in the configuration.") from None

    def _overrides(self) -> list[ConnectTo]:
        try:
            return [ConnectTo.parse(text) for text in self._table("network").get("connect_to", [])]
        except ValueError as error:
            cure = 'write it as "host:port=address:port", such as "login-sandbox.procore.com:443=127.0.0.1:8443"'
            raise Fault(("network", "connect_to"), f"this connect_to entry is not acceptable: {error}", cure) from None

    def _journal(self) -> JsonLinesJournal:
        named = self.table.get("journal")
        path = self._state() / "journal.jsonl" if named is None else self._resolve(named)
        try:
            return JsonLinesJournal(path)
        except OSError as error:
            raise _explained("file", f"Cannot open the journal {path}: {error.strerror or error}.", "Mend it, or name another.") from None

    def _state(self) -> Path:
        named = self.table.get("state")
        if named is not None:
            return self._resolve(named)
        return _base("XDG_STATE_HOME", ".local/state") / "procore-auth"

    def _resolve(self, path: str) -> Path:
        """A path of the file is relative to the file's folder; ``~/`` is the user's home."""
        written = Path(path)
        return Path.home().joinpath(*written.parts[1:]) if written.parts[:1] == ("~",) else self.path.parent / written

    def _only_name(self) -> str:
        if "default_connection" in self.table:
            return str(self.table["default_connection"])
        names = list(self._table("connections"))
        if not names:
            raise _explained("config-no-connection", f"{self.path} has no connection.", "Run `procore-auth init`, or add one.")
        if len(names) > 1:
            what = f"{self.path} has several connections, and none is named: {', '.join(names)}."
            raise _explained("config-ambiguous-connection", what, "Name one, or set `default_connection` in the file.")
        return names[0]

    def _table(self, name: str) -> dict[str, Any]:
        table: dict[str, Any] = self.table.get(name, {})
        return table

    def _client_id(self, written: Any, path: config_shape.Path) -> str:
        return _variable(written["env"], path) if isinstance(written, dict) else str(written)

    def _secret(self, reference: dict[str, Any], path: config_shape.Path) -> str:
        """Reads what a reference refers to."""
        if "env" in reference:
            return _variable(reference["env"], path)
        if "file" in reference:
            return _secret_file(self._resolve(reference["file"]), _named(reference["file"]), path)
        raise Fault(path, "this host does not read the keyring", 'refer to it as { env = "NAME" } or { file = "/path/to/secret" }')

    def _mistake(self, fault: Fault) -> Misconfigured:
        return _at(self.path, config_place.find(self.text, fault.path), fault.message, fault.cure)


def _settings(name: str, table: dict[str, Any], client_id: str, client_secret: Secret) -> Settings:
    place = ("connections", name)
    grant, policy = _grant(table, place), _policy(table.get("policy", {}), (*place, "policy"))
    try:
        return Settings(name, table["environment"], client_id, client_secret, grant, table.get("company_id"), policy)
    except ValueError as error:
        raise _placed(error, table, place) from None


def _grant(table: dict[str, Any], place: config_shape.Path) -> Grant:
    uri = table.get("redirect_uri")
    if table["grant"] == "authorization-code":
        if uri is None:
            cure = "add it exactly as it is registered in Procore's developer portal"
            raise Fault((*place, "grant"), "the grant authorization-code needs a redirect_uri", cure)
        return AuthorizationCode(uri)
    if uri is not None:
        cure = 'remove this line, or set grant = "authorization-code"'
        raise Fault((*place, "redirect_uri"), "the grant client-credentials has no redirect_uri: nobody signs in", cure)
    return ClientCredentials()


def _policy(table: dict[str, Any], place: config_shape.Path) -> Policy:
    try:
        return Policy(**{name: spans.parse(value) if name in _SPANS else value for name, value in table.items()})
    except ValueError as error:
        raise _placed(error, table, place) from None


def _placed(error: ValueError, table: dict[str, Any], place: config_shape.Path) -> Fault:
    """Puts a mistake to the first key that its message names and the table has: of two, one may be left to its default."""
    named = [word for word in str(error).split() if word in table]
    return Fault((*place, *named[:1]), str(error))


def _variable(name: str, path: config_shape.Path) -> str:
    value = os.environ.get(name)
    # Any other name than a customary one may be the secret itself.
    is_customary = len(name) <= _LONGEST_VARIABLE and name.upper() == name
    shown = f"the environment variable {name}" if is_customary else "the environment variable that is named here"
    text = _content(value or "")
    if text is None:
        cure = "set it for this process, or refer to a file: { file = \"/path/to/secret\" }"
        raise Fault(path, f"{shown} is {'not set' if value is None else 'empty'}", cure)
    return text


def _named(written: str) -> str:
    """Names a file in a sentence, where what is written is a path and no secret in its place."""
    is_path = "/" in written or (0 < len(Path(written).suffix) <= _LONGEST_SUFFIX and _TOKEN.search(written) is None)
    return shlex.quote(written) if is_path else "the file that is named here"


def _secret_file(path: Path, named: str, place: config_shape.Path) -> str:
    try:
        content, status = regular_file.read(path, _LARGEST_SECRET)
        written = content.decode()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Fault(place, f"cannot read {named}: {why}", "refer to a file with the secret alone in it, mode 600") from None
    if status.st_mode & 0o077:
        raise Fault(place, f"others can read {named} (mode {status.st_mode & 0o777:03o})", f"run: chmod 600 {named}")
    if status.st_uid not in (0, os.geteuid()):
        raise Fault(place, f"{named} belongs to another account", f"run: chown {os.geteuid()} {named}")
    text = _content(written)
    if text is None:
        raise Fault(place, f"{named} is empty", "put the secret into it")
    return text


def _content(text: str) -> str | None:
    """Cuts off the line end that editors and `echo` leave; ``None`` where nothing remains."""
    if text.endswith("\n"):
        text = text.removesuffix("\n").removesuffix("\r")
    return text if text.strip() else None


def _explained(code: str, what: str, remedy: str) -> Misconfigured:
    return misconfigured(code, what, "The configuration, or what it refers to, is not as it must be.", remedy)


def _at(path: Path, place: tuple[int, int] | None, message: str, cure: str) -> Misconfigured:
    where = f"{path}:{place[0]}:{place[1]}" if place else f"{path}"
    return _explained("config-invalid", f"{where}: {message}.", f"{cure[:1].upper()}{cure[1:]}.")


def _unreadable(path: Path, error: OSError | ValueError) -> Misconfigured:
    why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
    remedy = "Check the path (--config, PROCORE_AUTH_CONFIG) and the file's owner and mode."
    return _explained("config-unreadable", f"Cannot read the configuration {path}: {why}.", remedy)


def _writable(path: Path, mode: int) -> Misconfigured:
    what = f"Every account can write to the configuration {path} (mode {mode & 0o777:03o}), and so have programs run."
    return _explained("insecure-permissions", what, f"Run: chmod o-w {shlex.quote(str(path))}")


def _no_toml(path: Path, error: Exception) -> Misconfigured:
    # What is wrong with TOML may stand beside a secret: the text is not repeated.
    place = config_place.of_syntax(error) if isinstance(error, tomllib.TOMLDecodeError) else None
    return _at(path, place, "this is not TOML", "correct the line, or the one before")


def _find(named: Path | str | None) -> Path:
    named = named or os.environ.get("PROCORE_AUTH_CONFIG")
    if named:
        return Path(named)
    candidates = [_base("XDG_CONFIG_HOME", ".config") / "procore-auth/config.toml", Path("/etc/procore-auth/config.toml")]
    return next((path for path in candidates if path.exists()), candidates[0])


def _base(variable: str, below_home: str) -> Path:
    named = Path(os.environ.get(variable, ""))
    return named if named.is_absolute() else Path.home() / below_home
