"""What a caller gives, checked before the plugin sees it.

The binding does not check: it would send -1 as 18446744073709551615. What is refused is an :class:`~procore_auth.InvalidInput` that names
the argument, and repeats nothing of its value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .answers import Diagnosis
from .egress import Refused, permit_headers
from .errors import InvalidInput
from .secret import Secret

MOST_NUMBER = (1 << 64) - 1
"""The greatest number that crosses into the plugin."""

_LONGEST_SPAN = 100 * 365 * 86400
_JSON = ("content-type", "application/json")


def text(given: Any, what: str) -> str:
    """Returns the text, which UTF-8 can express."""
    if not isinstance(given, str):
        raise invalid(f"{what} is to be a str, not {_type(given)}")
    if not is_encodable(given):
        raise invalid(f"{what} has a lone surrogate, which UTF-8 does not know")
    return given


def secret(given: Any, what: str) -> str:
    """Returns the text of a secret, or of a text that is one."""
    return text(given.expose() if isinstance(given, Secret) else given, what)


def number(given: Any, what: str) -> int:
    """Returns the whole number, from 0 to :data:`MOST_NUMBER`."""
    if not is_number(given):
        raise invalid(f"{what} is to be a whole number from 0 to {MOST_NUMBER}")
    return int(given)


def truth(given: Any, what: str) -> bool:
    """Returns the truth value."""
    if not isinstance(given, bool):
        raise invalid(f"{what} is to be True or False, not {_type(given)}")
    return given


def milliseconds(given: Any, what: str) -> int:
    """Returns the milliseconds of a span in seconds."""
    if not is_span(given):
        raise invalid(f"{what} is to be a number of seconds, from 0 to {_LONGEST_SPAN}")
    return int(given * 1000)


def header_pairs(given: Any) -> list[tuple[str, str]]:
    """Returns the headers, each of which may be sent."""
    pairs = given.items() if isinstance(given, Mapping) else given
    if isinstance(pairs, str | bytes) or not isinstance(pairs, Iterable):
        raise invalid("headers is to be a mapping, or pairs of a name and a value")
    headers = [_header(pair, number) for number, pair in enumerate(pairs, start=1)]
    try:
        permit_headers(headers)
    except Refused as refused:
        raise invalid(f"headers cannot be sent: {refused.message}") from None
    return headers


def _header(pair: Any, number: int) -> tuple[str, str]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise invalid(f"header {number} is to be a pair of a name and a value")
    # A name is shown once it is known to be one.
    name = text(pair[0], f"the name of header {number}")
    try:
        permit_headers([(name, "")])
    except Refused as refused:
        shown = name.lower() if "host's" in refused.message else number
        raise invalid(f"header {shown} cannot be sent: {refused.message}") from None
    value = text(pair[1], f"the value of header {name}")
    try:
        permit_headers([(name, value)])
    except Refused as refused:
        raise invalid(f"header {name} cannot be sent: {refused.message}") from None
    return name, value


def content(body: Any, json_value: Any, headers: list[tuple[str, str]]) -> tuple[bytes, list[tuple[str, str]]]:
    """Returns the bytes of a body, and the headers with its type where that is JSON and they do not say it."""
    if json_value is None:
        return (text(body, "body").encode() if isinstance(body, str) else octets(body, "body")), headers
    if body:
        raise invalid("body and json cannot both be sent")
    try:
        encoded = json.dumps(json_value, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        # The text of the error may quote the value.
        raise invalid(f"json cannot be written as JSON ({type(error).__name__})") from None
    has_type = any(name.lower() == _JSON[0] for name, _ in headers)
    return encoded, headers if has_type else [*headers, _JSON]


def octets(given: Any, what: str) -> bytes:
    """Returns the bytes."""
    if not isinstance(given, bytes | bytearray | memoryview):
        raise invalid(f"{what} is to be bytes, not {_type(given)}")
    return bytes(given)


def is_number(given: Any) -> bool:
    """Tells whether it is a whole number that crosses into the plugin as it is."""
    return isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= MOST_NUMBER


def is_span(given: Any) -> bool:
    """Tells whether it is a span of time in seconds."""
    is_real = isinstance(given, int | float) and not isinstance(given, bool)
    # Not a number is in no order with any.
    return is_real and 0 <= given <= _LONGEST_SPAN


def is_encodable(given: str) -> bool:
    """Tells whether UTF-8 can express the text."""
    return not any("\ud800" <= character <= "\udfff" for character in given)


def invalid(what: str) -> InvalidInput:
    """Makes the error of an argument. ``what`` begins with its name."""
    return InvalidInput(Diagnosis("invalid-request", f"The argument {what}.", "", "Correct the call.", []))


def _type(given: Any) -> str:
    return type(given).__name__
