"""The shape of the configuration file: which keys there are, and what stands behind them. The tool's is in `host/src/cli/config/shape.rs`.

Unknown keys are refused everywhere: one that is misspelt would be passed over in silence. A fault repeats no value: it may be a secret
in the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from . import spans
from .plugin import LoadError, check_digest

Path = tuple[str, ...]
"""Where in the file: the keys that lead there."""
Check = Callable[[Any, Path], None]

_SHOWN = re.compile(r"[a-z_-]{1,32}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEX_SECRET = re.compile(r"[0-9A-Fa-f]{32,}")
_REFERENCE = 'write { env = "NAME" } or { file = "/path/to/secret" } here, and put the secret there'


class Fault(Exception):
    """What is wrong at one place of the file, and what to write instead."""

    def __init__(self, path: Path, message: str, cure: str = "correct the value") -> None:
        super().__init__(message)
        self.path = path
        self.message = message
        self.cure = cure


def check(file: Mapping[str, Any]) -> None:
    """Checks the whole file. Fails with :class:`Fault`."""
    _FILE(file, ())


def _table(known: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    def check_table(value: Any, path: Path) -> None:
        if not isinstance(value, dict):
            raise Fault(path, "a table is expected here")
        for key in value:
            if key not in known:
                name = f" `{key}`" if _SHOWN.fullmatch(key) else ""
                expected = ", ".join(f"`{name}`" for name in known)
                raise Fault((*path, key), f"unknown field{name}, expected one of {expected}", "correct the key, or remove it")
        for key in required:
            if key not in value:
                raise Fault(path, f"missing field `{key}`", "add the key to this table")
        for key, inner in value.items():
            known[key](inner, (*path, key))

    return check_table


def _each(of: Check) -> Check:
    def check_each(value: Any, path: Path) -> None:
        if not isinstance(value, dict):
            raise Fault(path, "a table is expected here")
        for key, inner in value.items():
            of(inner, (*path, key))

    return check_each


def _text(value: Any, path: Path) -> None:
    if not isinstance(value, str):
        raise Fault(path, "a text in quotes is expected here")


def _path(value: Any, path: Path) -> None:
    _text(value, path)
    if not value.strip() or "\0" in value:
        raise Fault(path, "this names no file and no folder", "write its path, or remove the line for the default")


def _texts(value: Any, path: Path) -> None:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise Fault(path, "a list of texts in quotes is expected here")


def _number(value: Any, path: Path) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Fault(path, "a whole number, without quotes, is expected here")
    if not 0 <= value < 1 << 64:
        raise Fault(path, "this number is out of range")


def _truth(value: Any, path: Path) -> None:
    if not isinstance(value, bool):
        raise Fault(path, "true or false, without quotes, is expected here")


def _span(value: Any, path: Path) -> None:
    _text(value, path)
    try:
        spans.parse(value)
    except ValueError:
        raise Fault(path, 'this is not a span of time: write it like "30s", "60m" or "7d"') from None


def _one_of(*words: str) -> Check:
    def check_word(value: Any, path: Path) -> None:
        _text(value, path)
        if value not in words:
            name = f" `{value}`" if _SHOWN.fullmatch(value) else ""
            raise Fault(path, f"unknown variant{name}, expected one of {', '.join(f'`{word}`' for word in words)}")

    return check_word


def _reference(value: Any, path: Path) -> None:
    """Where a secret is. The secret itself is refused, and not shown."""
    if not isinstance(value, dict):
        raise Fault(path, "a secret does not belong into this file: it gets copied, backed up and committed", _REFERENCE)
    places = [key for key in ("env", "file", "keyring") if key in value]
    if len(places) != 1 or set(value) - {places[0], "or"} or ("or" in value and places != ["keyring"]):
        raise Fault(path, "exactly one of `env`, `file` and `keyring` is expected here, and `or` beside `keyring` only", _REFERENCE)
    _text(value[places[0]], path)
    if places == ["env"]:
        _variable(value["env"], path)
    if "or" in value:
        _reference(value["or"], path)


def _variable(name: str, path: Path) -> None:
    if _VARIABLE.fullmatch(name) is None or _HEX_SECRET.fullmatch(name):
        cure = 'give the variable\'s name, such as env = "PROCORE_CLIENT_SECRET", not its value'
        raise Fault(path, "this is not the name of an environment variable", cure)


def _client_id(value: Any, path: Path) -> None:
    if isinstance(value, dict):
        _reference(value, path)
        if "env" not in value:
            cure = 'write it as a text, or as { env = "NAME" }'
            raise Fault(path, "a client id is no secret and needs no place of its own", cure)
    elif isinstance(value, bool) or not isinstance(value, str | int):
        raise Fault(path, "a text in quotes is expected here")
    elif not str(value).strip():
        raise Fault(path, "the client id is empty", "copy it from the app's page in Procore's developer portal")


def _digest(value: Any, path: Path) -> None:
    _text(value, path)
    try:
        check_digest(value)
    except LoadError:
        cure = "copy the digest whole: `sha256sum FILE` prints that of a file, `procore-auth --version` that of the bundled plugin"
        raise Fault(path, "this is no SHA-256: it has 64 hexadecimal digits", cure) from None


def _plugin(value: Any, path: Path) -> None:
    if isinstance(value, str):
        _path(value, path)
    elif isinstance(value, dict) and not value:
        raise Fault(path, "`path`, `sha256` or both are expected here")
    elif isinstance(value, dict):
        _table({"path": _path, "sha256": _digest})(value, path)
    else:
        raise Fault(path, 'a path in quotes, or { path = "PATH", sha256 = "64 hexadecimal digits" }, is expected here')


def _references(value: Any, path: Path) -> None:
    if not isinstance(value, list):
        raise Fault(path, "a list is expected here")
    for inner in value:
        _reference(inner, path)


_ENCRYPTION = _table({"key": _reference, "old_keys": _references}, required=("key",))
_POLICY = _table(
    {
        "refresh_percent": _number,
        "refresh_jitter": _span,
        "token_timeout": _span,
        "lock_wait": _span,
        "call_timeout": _span,
        "parked_count": _number,
        "parked_bytes": _number,
        "parked_age": _span,
        "pkce": _truth,
    }
)
_CONNECTION = _table(
    {
        "environment": _one_of("production", "sandbox", "monthly-sandbox", "federal"),
        "client_id": _client_id,
        "client_secret": _reference,
        "grant": _one_of("authorization-code", "client-credentials"),
        "redirect_uri": _text,
        "company_id": _number,
        "export": _path,
        "policy": _POLICY,
        "encryption": _ENCRYPTION,
        "fallback": _table({"allow": _truth, "client_id": _client_id, "client_secret": _reference}, required=("allow",)),
    },
    required=("environment", "client_id", "client_secret", "grant"),
)
_ALERT = _table(
    {
        "webhook": _reference,
        "command": _texts,
        "format": _one_of("generic", "slack", "teams"),
        "connections": _texts,
        "retry": _span,
    }
)
_FILE = _table(
    {
        "state": _path,
        "journal": _path,
        "plugin": _plugin,
        "default_connection": _text,
        "network": _table({"extra_ca": _path, "connect_to": _texts}),
        "encryption": _ENCRYPTION,
        "metrics": _table({"file": _path, "listen": _text}),
        "alerts": _each(_ALERT),
        "connections": _each(_CONNECTION),
    }
)
