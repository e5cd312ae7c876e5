"""Protobuf messages that are one field of bytes, without the copies that protobuf makes; knows no types."""

from __future__ import annotations

_LONGEST_LENGTH = 5
"""Bytes of a varint that can be the length of a message."""


def start_of_only_field(message: bytes, tag: bytes) -> int | None:
    """Where the bytes begin of the one field, with this tag of one byte, that the message is; else None.

    Source: the protobuf encoding, length-delimited fields.
    """
    if message[:1] != tag:
        return None
    length = shift = 0
    for position in range(1, min(len(message), 1 + _LONGEST_LENGTH)):
        byte = message[position]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return position + 1 if position + 1 + length == len(message) else None
    return None
