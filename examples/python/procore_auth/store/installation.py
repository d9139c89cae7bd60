"""Which installation a store's folder belongs to, so that a copy of it is known for one.

The folder holds a mark, ``.install``: a random id, and what the file system says about the mark itself. In a copy the two do not agree,
and the folder gets a new mark. Entries carry the id of the installation that wrote them.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from . import private_file
from .birth import born

_MARK = ".install"
_LONGEST = 4096


def marked(folder: Path) -> str | None:
    """Returns the id of the folder's mark, if that is the original."""
    path = folder / _MARK
    descriptor = private_file.open_for_reading(path)
    if descriptor is None:
        return None
    try:
        with os.fdopen(descriptor, "rb") as file:
            here = _body(file.fileno())
            mark = _parsed(file.read(_LONGEST))
    except OSError as error:
        raise private_file.failure(error, path) from error
    return mark["install"] if mark is not None and _agree(mark, here) else None


def of(folder: Path) -> str | None:
    """Returns the id of the folder's installation; makes a new mark where there is none or it was copied. The guard is held.

    ``None`` where it cannot be told, since the folder cannot be written.
    """
    install = marked(folder)
    if install is not None:
        return install
    try:
        return _renew(folder)
    except OSError:
        return None


def _renew(folder: Path) -> str:
    install = secrets.token_hex(16)
    path = private_file.unused_name(folder, f"{_MARK}.")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            mark = {"procore-auth": 1, "install": install, **_body(file.fileno())}
            file.write(json.dumps(mark, separators=(",", ":")).encode())
            file.flush()
            os.fsync(file.fileno())
        # Renamed: the inode stays.
        path.rename(folder / _MARK)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    private_file.sync_folder(folder)
    return install


def _body(descriptor: int) -> dict[str, int]:
    """What a copy cannot have: the number of the mark's inode, and its birth where the system knows it."""
    body = {"inode": os.fstat(descriptor).st_ino}
    at = born(descriptor)
    return body if at is None else {**body, "born": at}


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        mark = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return mark if isinstance(mark, dict) and isinstance(mark.get("install"), str) else None


def _agree(mark: dict[str, Any], here: dict[str, int]) -> bool:
    # Some file systems number their inodes anew at each mount; a birth stays.
    if mark.get("born") is not None and "born" in here:
        return bool(mark["born"] == here["born"])
    return mark.get("inode") is None or bool(mark["inode"] == here["inode"])
