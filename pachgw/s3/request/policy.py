"""The policy of a form: which fields it has to have, how long it is good, how large its file may be. Pure.

Source: Amazon S3 API reference, "Creating a POST policy"; the texts of refusals are those of S3.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pachgw.s3.errors import S3Error

_EXPIRATION = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?Z")
_NUMBER = re.compile(r"[0-9]{1,18}")
# JSON knows no escaped dollar sign, S3's policies do.
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)

_EXEMPT = frozenset({"policy", "signature", "awsaccesskeyid", "x-amz-signature"})
"""Fields that no condition has to allow."""
_IGNORED_PREFIX = "x-ignore-"
# What holds the token of whoever signed must not get into an error.
_SECRET = frozenset({"awsaccesskeyid", "x-amz-credential", "x-amz-security-token"})

EQ, STARTS_WITH, LENGTH_RANGE = "eq", "starts-with", "content-length-range"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What one field has to be, or to begin with."""

    operator: str
    field: str
    """In lower case."""
    value: str

    def holds(self, fields: Mapping[str, str]) -> bool:
        """Whether the fields meet it; one that was not sent counts as empty."""
        value = fields.get(self.field, "")
        if self.operator == EQ:
            return value == self.value
        if self.field == "content-type":
            # A list of types, each of which has to meet it.
            return all(one.strip().startswith(self.value) for one in value.split(","))
        return value.startswith(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a form is allowed."""

    expiration: datetime
    conditions: tuple[Condition, ...]
    length_range: tuple[int, int] | None = None
    """The fewest and the most bytes of the file."""

    def check(self, fields: Mapping[str, str], now: datetime) -> None:
        """Raise AccessDenied unless the policy allows a form with these fields now.

        Each field needs a condition that names it: else a form could be made to do what nobody allowed.
        """
        if now > self.expiration:
            raise _denied("Policy expired.")
        for condition in self.conditions:
            if not condition.holds(fields):
                value = "(hidden)" if condition.field in _SECRET else condition.value
                shown = json.dumps([condition.operator, f"${condition.field}", value])
                raise _denied(f"Policy Condition failed: {shown}")
        named = {condition.field for condition in self.conditions} | _EXEMPT
        extra = sorted(name for name in fields if name not in named and not name.startswith(_IGNORED_PREFIX))
        if extra:
            raise _denied(f"Extra input fields: {', '.join(extra)}")


def parse_policy(text: str) -> Policy:
    """The policy of a form's `policy` field, base64 of JSON. Raises InvalidPolicyDocument."""
    document = _parse_json(text)
    if unknown := sorted(document.keys() - {"expiration", "conditions"}):
        raise _invalid(f"Unexpected: '{unknown[0]}'")
    if "expiration" not in document:
        raise _invalid("Policy missing expiration.")
    if "conditions" not in document:
        raise _invalid("Policy missing conditions.")
    conditions = document["conditions"]
    if not isinstance(conditions, list):
        raise _invalid("Invalid 'conditions' value: must be a List.")
    found: list[Condition] = []
    length_range: tuple[int, int] | None = None
    for condition in conditions:
        parsed = _parse_condition(condition)
        if isinstance(parsed, Condition):
            found.append(parsed)
        elif length_range is None:
            length_range = parsed
        else:
            length_range = max(length_range[0], parsed[0]), min(length_range[1], parsed[1])
    return Policy(
        expiration=_parse_expiration(document["expiration"]),
        conditions=tuple(found),
        length_range=length_range,
    )


def _parse_json(text: str) -> dict[str, object]:
    try:
        decoded = base64.b64decode("".join(text.split()), validate=True).decode("utf-8")
        document = json.loads(_ESCAPE.sub(lambda match: "$" if match[1] == "$" else match[0], decoded))
    except (binascii.Error, ValueError, RecursionError):
        raise _invalid("Invalid JSON.") from None
    if not isinstance(document, dict):
        raise _invalid("Invalid JSON.")
    return document


def _parse_expiration(value: object) -> datetime:
    match = _EXPIRATION.fullmatch(value) if isinstance(value, str) else None
    try:
        if match is not None:
            return datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    except ValueError:
        pass
    raise _invalid(f"Invalid 'expiration' value: '{value}'")


def _parse_condition(condition: object) -> Condition | tuple[int, int]:
    """One condition; two numbers for the bounds on the file."""
    if isinstance(condition, dict):
        if len(condition) != 1:
            raise _invalid("Invalid Simple-Condition: Simple-Conditions must have exactly one property.")
        ((name, value),) = condition.items()
        if not isinstance(value, str):
            raise _invalid("Invalid Simple-Condition: value must be a string.")
        return Condition(operator=EQ, field=str(name).lower(), value=value)
    if not isinstance(condition, list) or not condition or not isinstance(condition[0], str):
        raise _invalid("Invalid Condition: must be a List or a Simple-Condition.")
    operator = condition[0].lower()
    if len(condition) != 3:
        raise _invalid(f"Invalid {operator} Condition: wrong number of arguments.")
    first, second = condition[1:]
    if operator == LENGTH_RANGE:
        return _parse_size(first), _parse_size(second)
    if operator not in (EQ, STARTS_WITH):
        raise _invalid(f"Invalid Condition: unknown operation '{operator}'.")
    if not isinstance(first, str) or not isinstance(second, str):
        raise _invalid(f"Invalid {operator} Condition: arguments must be strings.")
    if not first.startswith("$"):
        raise _invalid(f"Invalid {operator} Condition: the first argument must begin with a $.")
    return Condition(operator=operator, field=first[1:].lower(), value=second)


def _parse_size(value: object) -> int:
    # True is an int to Python.
    if type(value) is int and value >= 0:
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    raise _invalid("Invalid content-length-range: the bounds must be numbers of bytes.")


def _invalid(reason: str) -> S3Error:
    return S3Error("InvalidPolicyDocument", f"Invalid Policy: {reason}")


def _denied(reason: str) -> S3Error:
    return S3Error("AccessDenied", f"Invalid according to Policy: {reason}")
