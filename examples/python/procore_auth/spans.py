"""Spans of time, as the configuration writes them: ``30s``, ``1h 30m``, ``7 days``."""

from __future__ import annotations

import re

# From the longest to the shortest: in this order they are written, each once at most.
_UNITS = [
    (604_800, "weeks?|wks?|w"),
    (86_400, "days?|d"),
    (3600, "hours?|hrs?|h"),
    (60, "minutes?|mins?|m"),
    (1, "seconds?|secs?|s"),
    (0.001, "milliseconds?|millis?|msecs?|ms"),
    (0.000_001, "microseconds?|micros?|usecs?|us|µs"),
    (0.000_000_001, "nanoseconds?|nanos?|nsecs?|ns"),
]
_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)"
_FORM = re.compile("".join(rf"(?:{_NUMBER}\s*(?:{unit})(?=$|[\s,0-9]),?\s*)?" for _, unit in _UNITS))


def parse(text: str) -> float:
    """Returns the seconds. Fails with :class:`ValueError`.

    The other forms that the tool reads, ``PT30S`` and ``00:00:30``, are refused.
    """
    match = _FORM.fullmatch(text)
    parts = [(number, seconds) for number, (seconds, _) in zip(match.groups(), _UNITS, strict=True) if number] if match else []
    # A fraction is of the last unit, and of no day: that has not always 24 hours.
    whole = parts[:-1] if parts and parts[-1][1] < 86_400 else parts
    if not parts or text != text.strip() or text.endswith(",") or any("." in number for number, _ in whole):
        raise ValueError('this is not a span of time: write it like "30s", "60m" or "7d"')
    return sum(float(number) * seconds for number, seconds in parts)
