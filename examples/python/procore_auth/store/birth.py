"""When a file was born: Linux tells it to ``statx`` alone, which Python does not have."""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800
_SIZE_OF_STATX = 256
_BORN = struct.Struct("@qI")
_OFFSET_OF_BORN = 80


def born(descriptor: int) -> int | None:
    """Returns the birth of an open file in nanoseconds since 1970; ``None`` where the system does not know it."""
    if sys.platform.startswith("linux"):
        return _from_statx(descriptor)
    seconds = getattr(os.fstat(descriptor), "st_birthtime", None)
    return None if seconds is None else int(seconds * 1_000_000_000)


def _from_statx(descriptor: int) -> int | None:
    statx = getattr(ctypes.CDLL(None), "statx", None)
    buffer = ctypes.create_string_buffer(_SIZE_OF_STATX)
    if statx is None or statx(descriptor, b"", _AT_EMPTY_PATH, _STATX_BTIME, buffer) != 0:
        return None
    (answered,) = struct.unpack_from("@I", buffer)
    if not answered & _STATX_BTIME:
        return None
    seconds, nanoseconds = _BORN.unpack_from(buffer, _OFFSET_OF_BORN)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)
