"""From the records of the wasmtime binding to this package's dataclasses: by the fields' names and types."""

from __future__ import annotations

import dataclasses
import types
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from .secret import Secret

T = TypeVar("T")


def lift(target: type[T], record: Any) -> T:
    """Makes a dataclass of a record whose fields have the same names, with ``-`` for ``_``."""
    fields = _fields(cast(Any, target))
    return target(**{name: _value(of, getattr(record, name.replace("_", "-"))) for name, of in fields.items()})


@cache
def _fields(target: Any) -> dict[str, Any]:
    hints = get_type_hints(target)
    return {field.name: hints[field.name] for field in dataclasses.fields(target)}


def _value(target: Any, value: Any) -> Any:
    if get_origin(target) in (Union, types.UnionType):
        (some,) = (argument for argument in get_args(target) if argument is not type(None))
        return None if value is None else _value(some, value)
    if get_origin(target) is list:
        (element,) = get_args(target)
        return [_value(element, item) for item in value]
    if target is Secret:
        return Secret(value)
    return lift(cast(type, target), value) if dataclasses.is_dataclass(target) else value
