"""Frozen dataclasses as JSON and back, for processes of one release that hand each other values.

Knows the types of fields that configurations have; no versions, no defaults: both sides are the same code.
"""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """The value as what json.dumps takes. Raises TypeError for a type that no field may have."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Path():
            return str(value)
        case tuple():
            return [to_json(item) for item in value]
        case _ if is_dataclass(value):
            # Its name tells apart what a field may have the one or the other of.
            fields_ = {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
            return {"": type(value).__name__, **fields_}
    raise TypeError(f"{type(value).__name__} cannot be handed to another process")


def from_json(kind: type[T], value: Any) -> T:
    """The value of this type that to_json gave the JSON of. Raises TypeError for what is none."""
    made: T = _restore(kind, value)
    return made


def _restore(kind: Any, value: Any) -> Any:
    origin = get_origin(kind)
    if origin in {types.UnionType, Union}:
        return _restore(_member(get_args(kind), value), value)
    if origin is tuple:
        item, _ = get_args(kind)
        return tuple(_restore(item, each) for each in value)
    if is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
        hints = get_type_hints(kind)
        return kind(**{name: _restore(hints[name], each) for name, each in value.items() if name})
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind in {bool, int, float, str, type(None)} and isinstance(value, kind):
        return value
    if kind is float and isinstance(value, int):
        return float(value)
    raise TypeError(f"{type(value).__name__} where {kind} is wanted")


def _member(members: tuple[Any, ...], value: Any) -> Any:
    """Which type of a union the JSON is of."""
    if value is None:
        return type(None)
    if isinstance(value, dict):
        return next(member for member in members if getattr(member, "__name__", "") == value.get(""))
    return next(member for member in members if member is not type(None))
