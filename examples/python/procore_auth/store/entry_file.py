"""The bytes of one entry's file: a header in JSON, a line feed, and the value."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from . import revision as revisions

FORMAT = 1
MAX_HEADER = 4096
"""Longer than any header of this format, and short enough to search for the line feed in any file."""


@dataclass(frozen=True)
class Decoded:
    """A file that was read whole."""

    revision: int
    install: str | None
    value: bytes = field(repr=False)


class Damaged(Exception):
    """Torn, truncated, empty, changed, or somebody else's file."""


class NewerFormat(Exception):
    """A whole file, perhaps, of a later version of this software."""


def encode(revision: int, install: str | None, value: bytes) -> bytes:
    """Makes the file's bytes."""
    header: dict[str, Any] = {"procore-auth": FORMAT, "revision": revision, "sha256": _digest(value)}
    if install is not None:
        header["install"] = install
    return json.dumps(header, separators=(",", ":"), sort_keys=True).encode() + b"\n" + value


def decode(content: bytes) -> Decoded:
    """Reads a file's bytes. Fails with :class:`Damaged` or :class:`NewerFormat`."""
    if not content:
        raise Damaged("the file is empty")
    end = content.find(b"\n", 0, MAX_HEADER)
    if end < 0:
        raise Damaged("the file does not begin with a header")
    header = _header(content[:end])
    value = content[end + 1 :]
    if header["sha256"].lower() != _digest(value):
        raise Damaged("the digest does not match")
    return Decoded(header["revision"], header.get("install"), value)


def revision_of(start: bytes) -> int | None:
    """Reads the revision from a file's first bytes, whatever comes after them."""
    end = start.find(b"\n", 0, MAX_HEADER)
    try:
        return None if end < 0 else int(_header(start[:end])["revision"])
    except (Damaged, NewerFormat):
        return None


def _header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        header = None
    # The format first: a later one may have another header altogether.
    version = header.get("procore-auth") if isinstance(header, dict) else None
    if _is_number_up_to(1 << 64, version) and version != FORMAT and version:
        raise NewerFormat(f"format {version}")
    if not isinstance(header, dict) or not _is_number_up_to(FORMAT, version) or not version:
        raise Damaged("the file does not begin with a header")
    digest, install = header.get("sha256"), header.get("install")
    is_complete = _is_number_up_to(revisions.MAX, header.get("revision")) and isinstance(digest, str)
    if not is_complete or not (install is None or isinstance(install, str)):
        raise Damaged("the header is not complete")
    return header


def _is_number_up_to(most: int, value: Any) -> bool:
    return type(value) is int and 0 <= value <= most


def _digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()
