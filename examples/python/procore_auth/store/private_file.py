"""Files and folders that are for the agent's account only.

Folders are 0700 and files 0600 from their creation. What is a symbolic link, belongs to another account, or lets group or others in
is refused with the code ``insecure-permissions``; the open file is asked, not its path.
"""

from __future__ import annotations

import errno
import os
import secrets
import shlex
import stat
from pathlib import Path

from .contract import StoreFailure

_CODES = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "read-only",
    errno.EACCES: "permission-denied",
    errno.EPERM: "permission-denied",
}

# NONBLOCK: opening a pipe must not wait for its other end.
_ITSELF = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def failure(error: OSError, path: Path) -> StoreFailure:
    """Names the code of an I/O error, and the place."""
    code = _CODES.get(error.errno or 0, "io")
    return StoreFailure(code, f"{path}: {error.strerror or error}")


def create_folder(path: Path) -> None:
    """Creates a folder and its missing parents, all 0700. One that exists is left as it is."""
    try:
        if path.is_dir():
            return
        for folder in [*reversed(path.parents), path]:
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise failure(error, path) from error


def check_folder(path: Path) -> None:
    """Checks that a folder is for this account only."""
    try:
        status = path.lstat()
    except OSError as error:
        raise failure(error, path) from error
    if not stat.S_ISDIR(status.st_mode):
        raise _insecure(path, "is not a folder")
    _check_access(status, path)


def open_for_reading(path: Path) -> int | None:
    """Opens a file and returns its descriptor; ``None`` where there is none."""
    try:
        return _open_checked(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise failure(error, path) from error


def open_lock_file(path: Path) -> int:
    """Opens a file that is there to be locked, and creates it where it is missing."""
    try:
        return _open_checked(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise failure(error, path) from error
        # Entries can be read from a read-only file system, and reading takes a lock at times.
        try:
            return _open_checked(path, os.O_RDONLY)
        except OSError:
            # Where it is missing, the cause is not that it is missing.
            raise failure(error, path) from error


def read(path: Path, limit: int) -> bytes | None:
    """Reads at most ``limit`` bytes; ``None`` where there is no file."""
    descriptor = open_for_reading(path)
    if descriptor is None:
        return None
    try:
        with os.fdopen(descriptor, "rb") as file:
            return file.read(limit)
    except OSError as error:
        raise failure(error, path) from error


def write_new(folder: Path, prefix: str, content: bytes) -> Path:
    """Writes a file of its own, 0600 and durable, and returns where. On failure there is none."""
    path = unused_name(folder, prefix)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _ITSELF, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def unused_name(folder: Path, prefix: str) -> Path:
    """Returns the path of a file that is not there: nobody can guess the name."""
    return folder / f"{prefix}{secrets.token_hex(6)}"


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems know no such thing, and order renames themselves.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def _open_checked(path: Path, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | _ITSELF, 0o600)
    except OSError as error:
        # FreeBSD says EMLINK.
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise _insecure(path, "is a symbolic link") from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _insecure(path, "is not a file")
        _check_access(status, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_access(status: os.stat_result, path: Path) -> None:
    us = os.geteuid()
    if status.st_uid != us:
        raise _insecure(path, f"belongs to the account with id {status.st_uid}, not to this one ({us})")
    if status.st_mode & 0o077:
        wanted = "700" if stat.S_ISDIR(status.st_mode) else "600"
        mode = f"{status.st_mode & 0o777:03o}"
        raise _insecure(path, f"lets others in (mode {mode}); run: chmod {wanted} {shlex.quote(str(path))}")


def _insecure(path: Path, what: str) -> StoreFailure:
    return StoreFailure("insecure-permissions", f"{path} {what}")
