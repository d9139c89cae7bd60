"""The loaded plugin."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import wasmtime
from wasmtime import component

from . import regular_file
from .binding import turn
from .version import CONTRACT_VERSION

_IMPORTS = {"types", "connection", "http", "clock", "random", "store", "journal"}
_EXPORTS = {"auth", "api", "advice"}
_NAME = re.compile(r"procore:auth/([a-z-]+)@(.+)")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_MOST_BYTES = 64 << 20
_BESIDE = Path(__file__).with_name("procore-auth.wasm")


class LoadError(Exception):
    """Why a component is not loaded."""


class NotPinned(LoadError):
    """It is another component than the one that was pinned."""


class Plugin:
    """The plugin, compiled and checked: it imports nothing but what the contract lends.

    Loading compiles the component, which takes some 100 ms of a core: load once, and give it to every connection.
    """

    def __init__(self, wasm: bytes, *, sha256: str | None = None) -> None:
        """Loads a component from its bytes; where ``sha256`` is given, only if that is their digest. Fails with :class:`LoadError`."""
        self.sha256 = hashlib.sha256(wasm).hexdigest()
        """The digest of the bytes, in hexadecimal."""
        if sha256 is not None and check_digest(sha256) != self.sha256:
            raise NotPinned(f"the component's SHA-256 is {self.sha256}, and {sha256} is expected: it is not the one that was pinned")
        self.engine = _engine()
        with turn:
            try:
                self.component = component.Component(self.engine, wasm)
            except wasmtime.WasmtimeError as error:
                raise LoadError(f"not a WebAssembly component that this host can run: {error}") from error
            _check(self.component.type, self.engine)

    @classmethod
    def from_file(cls, path: Path | str, *, sha256: str | None = None) -> Plugin:
        """Loads a component from a file. It is a regular one, of 64 MiB at most."""
        try:
            wasm, _ = regular_file.read(path, _MOST_BYTES)
        except (OSError, ValueError) as error:
            raise LoadError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
        return cls(wasm, sha256=sha256)

    @classmethod
    def default(cls, *, sha256: str | None = None) -> Plugin:
        """Loads the file that ``PROCORE_AUTH_PLUGIN`` names, or else ``procore-auth.wasm`` beside this package's modules."""
        named = os.environ.get("PROCORE_AUTH_PLUGIN")
        if not named and not _BESIDE.exists():
            raise LoadError(f"there is no plugin: put procore-auth.wasm into {_BESIDE.parent}, or name it in PROCORE_AUTH_PLUGIN")
        return cls.from_file(named or _BESIDE, sha256=sha256)

    def function(self, interface: str, name: str) -> component.ExportIndex:
        """Finds an exported function. The turn is held."""
        of = self.component.get_export_index(_exported(self.component.type, self.engine, interface))
        index = self.component.get_export_index(name, of) if of is not None else None
        if index is None:
            raise LoadError(f"the component does not keep the contract: {interface}.{name} is missing")
        return index


def check_digest(sha256: object) -> str:
    """Returns the digest in lower case. Fails with :class:`LoadError` where it is none: a pin that says nothing is a mistake."""
    if not isinstance(sha256, str) or _DIGEST.fullmatch(sha256) is None:
        raise LoadError("a SHA-256 is a text of 64 hexadecimal digits: copy it whole, as sha256sum prints it")
    return sha256.lower()


def _engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.consume_fuel = True
    return wasmtime.Engine(config)


def _check(shape: component.ComponentType, engine: wasmtime.Engine) -> None:
    for name in shape.imports(engine):
        interface, version = _split(name)
        if interface not in _IMPORTS:
            raise LoadError(f"the component imports {name}, which this host does not lend")
        _check_version(version)
    given = dict(map(_split, shape.exports(engine)))
    for interface in sorted(_EXPORTS):
        if interface not in given:
            raise LoadError(f"the component does not keep the contract: it does not export {interface}")
        _check_version(given[interface])


def _split(name: str) -> tuple[str, str]:
    match = _NAME.fullmatch(name)
    return (match[1], match[2]) if match else ("", name)


def _check_version(version: str) -> None:
    """A later patch version is compatible, as in semantic versioning below 1.0."""
    ours, theirs = CONTRACT_VERSION.split("."), version.split(".")
    if len(theirs) != 3 or theirs[:2] != ours[:2] or not theirs[2].isdecimal():
        raise LoadError(
            f"the component speaks version {version} of the contract procore:auth, and this host version {CONTRACT_VERSION}: "
            "use a matching pair"
        )


def _exported(shape: component.ComponentType, engine: wasmtime.Engine, interface: str) -> str:
    return next((name for name in shape.exports(engine) if _split(name)[0] == interface), "")
