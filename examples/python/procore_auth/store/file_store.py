"""A store in files, in the format of the Rust host's: both may use one folder at the same time.

One folder per connection, ``ROOT/NAME/``, 0700, its files 0600:

========================  ====================================================================================================
``KEY``                   the entry: a header, a line feed, the value's bytes
``KEY.previous``          the entry's previous generation, in the same format
``KEY.damaged-1``, …      a file that could not be read whole, set aside; deleted with its entry alone
``.KEY.N.xxxxxx``         a write in progress that is to follow revision ``N`` (0: the first), or one that was cut short
``.KEY.previous.xxxxxx``  the previous generation on its way to its place
``.guard``                empty; locked (``flock``, exclusive) for a moment around every change
``.lock``                 empty; locked (``flock``, exclusive) by whoever holds the connection's lock
``.install``              which installation the folder belongs to
========================  ====================================================================================================

Writing, under ``.guard``: read and compare the revision; write ``.KEY.N.xxxxxx`` and sync it; make the current file's second name
``KEY.previous``; rename ``.KEY.N.xxxxxx`` to ``KEY``; sync the folder. Whatever cuts this short, ``KEY`` is the old or the new
generation, whole. Whoever has just been granted ``.lock`` finishes what killed writers left: it may be the only copy of tokens.
"""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from . import entry_file, installation, private_file, revision, unfinished
from .contract import Conflict, Entry, Provenance, Stored, StoreFailure, Write, checked_key
from .entry_file import Damaged, Decoded, NewerFormat
from .file_lock import FileLock, check_support, hold_briefly

_MAX_VALUE = 256 << 20
_PREVIOUS = ".previous"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_SEALED = b"\0sealed\0"


@dataclass(frozen=True)
class _Found:
    """The version of an entry that counts."""

    decoded: Decoded
    provenance: Provenance

    def entry(self) -> Entry:
        return Entry(self.decoded.value, self.decoded.revision, self.provenance)


class FileStore:
    """A :class:`Store` in files: one folder per connection, for this account only.

    Processes, threads and programs in other languages share it safely, on one machine. Values that the Rust host has encrypted are
    refused with the code ``key-unavailable``, and never overwritten.
    """

    def __init__(self, root: Path | str, name: str) -> None:
        """Opens the connection's folder under ``root``, and creates both where they are missing.

        Fails with ``insecure-permissions`` where the folder is a link, belongs to another account or lets others in, and with
        ``locks-unsupported`` where the file system has no working locks.
        """
        if _NAME.fullmatch(name) is None:
            raise StoreFailure("invalid-key", f"{name!r} is no name of a connection")
        private_file.create_folder(Path(root))
        # Two spellings of one root make one store with one lock.
        self._folder = _resolved(Path(root)) / name
        private_file.create_folder(self._folder)
        private_file.check_folder(self._folder)
        check_support(self._guard_path)
        if installation.marked(self._folder) is None:
            with self._guard():
                installation.of(self._folder)
        lock = self._folder / ".lock"
        os.close(private_file.open_lock_file(lock))
        self._lock = FileLock.of(lock)

    def get(self, key: str) -> Entry | None:
        """Returns the entry; ``None`` where there is none."""
        checked_key(key)
        # Without the guard: renaming is atomic, so a whole file is the entry.
        current = self._read(self._current(key))
        if isinstance(current, Decoded) and not self._is_outdated(key, current):
            install = installation.marked(self._folder)
            if install is not None:
                return _plain(key, _newest(current, install))
        with self._guard():
            return _plain(key, self._load(key))

    def put(self, key: str, value: bytes, expected: int | None) -> Write:
        """Writes the entry if it is at revision ``expected``; ``None`` expects that there is no entry. Durable when it returns."""
        checked_key(key)
        if len(value) > _MAX_VALUE:
            raise StoreFailure("too-large", f"{self._current(key)}: more than {_MAX_VALUE} bytes")
        with self._guard():
            found = self._load(key)
            last = found.decoded.revision if found else None
            if last != expected:
                return Conflict(_plain(key, found))
            return Stored(self._replace(key, value, found))

    def delete(self, key: str, expected: int) -> Write:
        """Deletes the entry, and every older version of it, if it is at revision ``expected``."""
        checked_key(key)
        with self._guard():
            found = self._load(key)
            if found is None or found.decoded.revision != expected:
                return Conflict(_plain(key, found))
            self._remove_all(key)
            return Stored(expected)

    def keys(self, prefix: str) -> list[str]:
        """Returns the keys that begin with ``prefix``, in ascending order."""
        names = {name.removesuffix(_PREVIOUS) for name in self._names()}
        return sorted(key for key in names if key.startswith(prefix) and _is_key(key))

    def lock(self, wait: float) -> AbstractContextManager[None] | None:
        """Takes the connection's lock; ``None`` where it was not free within ``wait`` seconds."""
        held = self._lock.take(wait)
        if held is not None:
            try:
                self._finish_writes()
            except BaseException:
                held.__exit__()
                raise
        return held

    @property
    def _guard_path(self) -> Path:
        return self._folder / ".guard"

    def _guard(self) -> AbstractContextManager[None]:
        """Keeps everybody else from changing anything."""
        return hold_briefly(self._guard_path)

    def _current(self, key: str) -> Path:
        return self._folder / key

    def _previous(self, key: str) -> Path:
        return self._folder / f"{key}{_PREVIOUS}"

    def _replace(self, key: str, value: bytes, found: _Found | None) -> int:
        last = found.decoded.revision if found else None
        new = revision.following(last)
        content = entry_file.encode(new, installation.of(self._folder), value)
        try:
            path = private_file.write_new(self._folder, unfinished.successor_prefix(key, last), content)
            try:
                if found is not None and found.provenance != "previous":
                    self._keep_previous(key, found.decoded)
                path.rename(self._current(key))
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            private_file.sync_folder(self._folder)
        except OSError as error:
            raise private_file.failure(error, self._current(key)) from error
        return new

    def _remove_all(self, key: str) -> None:
        """Removes the other files first and the current one last: whatever cuts it short, the entry is there whole or gone."""
        others = (unfinished.prefix(key), f"{key}.damaged-")
        try:
            for name in self._names():
                if name.startswith(others):
                    (self._folder / name).unlink(missing_ok=True)
            self._previous(key).unlink(missing_ok=True)
            self._current(key).unlink(missing_ok=True)
            private_file.sync_folder(self._folder)
        except OSError as error:
            raise private_file.failure(error, self._current(key)) from error

    def _finish_writes(self) -> None:
        """Finishes the writes that were cut short by their writers' death, and removes what cannot be finished."""
        with self._guard():
            for name in self._names():
                of = unfinished.parse(name)
                if of is not None:
                    self._finish_write(self._folder / name, of)

    def _finish_write(self, path: Path, of: unfinished.Unfinished) -> None:
        try:
            current, previous = self._read(self._current(of.key)), self._read(self._previous(of.key))
            new = self._read(path)
        except StoreFailure:
            return
        # Beside an entry that is not whole, nothing is touched.
        is_whole = isinstance(current, Decoded) or (current is None and previous is None)
        if new is None or not is_whole:
            return
        last = current.revision if isinstance(current, Decoded) else None
        if isinstance(new, Decoded) and of.is_successor and of.follows == last:
            self._finish(of.key, path, current if isinstance(current, Decoded) else None)
        else:
            # Where it cannot be removed it harms nobody, and the next one tries again.
            with suppress(OSError):
                path.unlink()

    def _finish(self, key: str, path: Path, current: Decoded | None) -> None:
        try:
            _sync(path)
            if current is not None:
                self._keep_previous(key, current)
            path.rename(self._current(key))
            private_file.sync_folder(self._folder)
        except OSError as error:
            raise private_file.failure(error, path) from error

    def _load(self, key: str) -> _Found | None:
        """Reads the entry. The guard is held."""
        install = installation.of(self._folder)
        current = self._read(self._current(key))
        if isinstance(current, Decoded) and not self._is_outdated(key, current):
            return _newest(current, install)
        previous = self._read(self._previous(key))
        if isinstance(previous, Decoded):
            if current is not None:
                self._set_aside(key)
            return _Found(previous, "previous")
        if isinstance(current, Decoded):
            # The previous generation is damaged behind its header: then the older one is all there is.
            return _newest(current, install)
        damage = current or previous
        if damage is None:
            return None
        raise StoreFailure(
            "corrupt",
            f"{self._current(key)}: {damage}, and there is no previous generation to fall back on; move the file away to start anew",
        )

    def _is_outdated(self, key: str, current: Decoded) -> bool:
        """Whether the previous generation is newer than this one: somebody put an older file in its place."""
        start = private_file.read(self._previous(key), entry_file.MAX_HEADER)
        previous = None if start is None else entry_file.revision_of(start)
        return previous is not None and previous > current.revision

    def _read(self, path: Path) -> Decoded | Damaged | None:
        """Reads one file; ``None`` where there is none."""
        limit = _MAX_VALUE + entry_file.MAX_HEADER
        content = private_file.read(path, limit + 1)
        if content is None:
            return None
        if len(content) > limit:
            return Damaged("the file is too large")
        try:
            return entry_file.decode(content)
        except Damaged as damaged:
            return damaged
        except NewerFormat as newer:
            raise StoreFailure("newer-format", f"{path}: written by a later version ({newer})") from None

    def _set_aside(self, key: str) -> None:
        """Renames what is in the entry's place and does not count."""
        number = 1
        while os.path.lexists(aside := self._folder / f"{key}.damaged-{number}"):
            number += 1
        try:
            self._current(key).rename(aside)
            private_file.sync_folder(self._folder)
        except OSError as error:
            raise private_file.failure(error, aside) from error

    def _keep_previous(self, key: str, current: Decoded) -> None:
        """Gives the current generation its second name."""
        try:
            self._link_previous(key)
        except OSError:
            # There are file systems without hard links.
            content = entry_file.encode(current.revision, current.install, current.value)
            copy = private_file.write_new(self._folder, unfinished.previous_prefix(key), content)
            copy.rename(self._previous(key))

    def _link_previous(self, key: str) -> None:
        """Links under a third name first: the previous generation is replaced and at no point missing."""
        link = private_file.unused_name(self._folder, unfinished.previous_prefix(key))
        os.link(self._current(key), link, follow_symlinks=False)
        link.rename(self._previous(key))
        # Renaming one name of a file over another name of it does nothing and says that it worked.
        link.unlink(missing_ok=True)

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._folder)
        except OSError as error:
            raise private_file.failure(error, self._folder) from error


def _newest(decoded: Decoded, install: str | None) -> _Found:
    """Marks the newest generation as the folder's own or as copied."""
    is_copied = install is not None and decoded.install is not None and install != decoded.install
    return _Found(decoded, "copied" if is_copied else "newest")


def _plain(key: str, found: _Found | None) -> Entry | None:
    if found is not None and found.decoded.value.startswith(_SEALED):
        raise StoreFailure(
            "key-unavailable",
            f"the entry {key} is encrypted, which this host cannot read; use the Rust host, or turn encryption off with "
            "`procore-auth store decrypt`. Nothing was overwritten",
        )
    return found.entry() if found is not None else None


def _resolved(root: Path) -> Path:
    try:
        return root.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise StoreFailure("io", f"{root}: {error}") from error


def _is_key(name: str) -> bool:
    try:
        checked_key(name)
    except StoreFailure:
        return False
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
