"""Where in the configuration's text something stands: `tomllib` does not say.

A statement is complete where the text up to its last line is TOML; so the first such text that has a key ends with the key's statement.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any

_SYNTAX = re.compile(r"\(at line ([0-9]+), column ([0-9]+)\)")


def find(text: str, path: Sequence[str]) -> tuple[int, int]:
    """Returns the line and the column of a key, or of the table that should have it. Both begin with 1."""
    lines = [f"{line}\n" for line in text.split("\n")]
    for length in range(len(path), 0, -1):
        number = _statement(lines, path[:length])
        if number is not None:
            return number, _column(lines[number - 1], path[length - 1])
    return 1, 1


def of_syntax(error: tomllib.TOMLDecodeError) -> tuple[int, int] | None:
    """Returns where the text is not TOML; ``None`` at its end. What else the error says may quote a secret."""
    at = _SYNTAX.search(str(error))
    return (int(at[1]), int(at[2])) if at else None


def _statement(lines: list[str], path: Sequence[str]) -> int | None:
    """Returns the first line of the statement that brings the key."""
    begins = 1
    for number in range(1, len(lines) + 1):
        try:
            table = tomllib.loads("".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
        if _has(table, path):
            return begins
        begins = number + 1
    return None


def _has(table: Any, path: Sequence[str]) -> bool:
    for key in path:
        if not isinstance(table, dict) or key not in table:
            return False
        table = table[key]
    return True


def _column(line: str, key: str) -> int:
    found = re.search(rf"(?<![\w-])[\"']?{re.escape(key)}[\"']?(?=\s*[=.\]])", line)
    return (found.start() if found else len(line) - len(line.lstrip())) + 1
