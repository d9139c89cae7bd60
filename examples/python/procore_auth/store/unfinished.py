"""The names of files that are not yet in their place: ``.KEY.N.xxxxxx``.

``N`` says of which revision of the entry the write is the successor, 0 where there is no entry; or it is another word, and then the
file is nothing but a copy of what is there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"\.(?P<key>[a-z0-9-]{1,64})\.(?:(?P<follows>[0-9]+)\.)?.*", re.DOTALL)


@dataclass(frozen=True)
class Unfinished:
    """What a file that is not yet in its place is to become."""

    key: str
    is_successor: bool
    follows: int | None
    """The revision that it follows; ``None`` where it is the first."""


def parse(name: str) -> Unfinished | None:
    """Reads a file's name; ``None`` where it is the name of something else."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    follows = match["follows"]
    return Unfinished(match["key"], follows is not None, int(follows or 0) or None)


def prefix(key: str) -> str:
    """Returns what the names of all unfinished files of a key begin with."""
    return f".{key}."


def successor_prefix(key: str, follows: int | None) -> str:
    """Returns what the name of a new generation begins with."""
    return f"{prefix(key)}{follows or 0}."


def previous_prefix(key: str) -> str:
    """Returns what the name of the previous generation's file begins with."""
    return f"{prefix(key)}previous."
