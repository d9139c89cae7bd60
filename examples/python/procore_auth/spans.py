"""Spans of time, as the configuration writes them: ``30s``, ``60m``, ``7d``."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"([0-9]+)(ms|s|m|h|d)")


def parse(text: str) -> float:
    """Returns the seconds. Fails with :class:`ValueError`."""
    compact = text.replace(" ", "")
    if re.fullmatch(f"(?:{_PART.pattern})+", compact) is None:
        raise ValueError(f"{text!r} is no span of time, such as 30s, 60m or 7d")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(compact))
