"""Reads files that people name: regular ones alone, and not without end. A pipe would keep the reader waiting, and a device for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read(path: Path | str, most: int) -> tuple[bytes, os.stat_result]:
    """Returns a file's content, and what the open file was known by. Fails with :class:`OSError`, also where it is longer than ``most``."""
    # NONBLOCK: opening a pipe must not wait for its other end.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        _check_kind(status, path)
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"longer than {most} bytes", str(path))
    return content, status


def check(path: Path | str) -> None:
    """Checks that there is a regular file, for a library that opens it itself. Fails with :class:`OSError`."""
    _check_kind(Path(path).stat(), path)


def _check_kind(status: os.stat_result, path: Path | str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
