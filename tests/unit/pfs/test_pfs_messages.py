"""The encodings made by hand are protobuf's, and hashes are PFS's."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import given, settings
from hypothesis import strategies as st

from pachgw.pfs import values
from pachgw.pfs.channel import bytes_value, parse_address
from pachgw.pfs.filehash import FileHash
from pachgw.pfs.proto import pfs_pb2
from pachgw.pfs.uploads import encode


@given(st.lists(st.binary(max_size=300), max_size=5), st.booleans())
def test_encode_is_what_protobuf_reads(parts: list[bytes], with_file: bool) -> None:
    head = pfs_pb2.PutFileRequest()
    if with_file:
        head.file.path = "/f"
        head.overwrite_index.SetInParent()
    read = pfs_pb2.PutFileRequest.FromString(encode(head.SerializeToString(), tuple(parts)))
    head.value = b"".join(parts)
    assert read == head


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 2 * 1024 * 1024])
def test_encode_and_bytes_value_at_the_steps_of_a_varint(length: int) -> None:
    data = bytes(length)
    assert pfs_pb2.PutFileRequest.FromString(encode(b"", (data,))).value == data
    assert bytes_value(BytesValue(value=data).SerializeToString()) == data


@given(st.binary(max_size=400))
def test_bytes_value_is_what_protobuf_reads(data: bytes) -> None:
    assert bytes_value(BytesValue(value=data).SerializeToString()) == data


def test_bytes_value_with_unknown_fields_or_several_values() -> None:
    twice = BytesValue(value=b"one").SerializeToString() + BytesValue(value=b"three").SerializeToString()
    assert bytes_value(twice) == b"three"
    assert bytes_value(b"\x10\x01" + BytesValue(value=b"x").SerializeToString()) == b"x"


def _reference(data: bytes, object_bytes: int) -> bytes:
    runs = [data[start : start + object_bytes] for start in range(0, len(data), object_bytes)] or [b""]
    return hashlib.sha256("".join(hashlib.sha512(run).hexdigest() for run in runs).encode()).digest()


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=20), max_size=8), st.integers(1, 30))
def test_file_hash_does_not_depend_on_how_the_bytes_are_cut(pieces: list[bytes], object_bytes: int) -> None:
    file_hash = FileHash(object_bytes)
    for piece in pieces:
        file_hash.update(piece)
    assert file_hash.digest() == _reference(b"".join(pieces), object_bytes)


def test_times_are_cut_not_rounded() -> None:
    assert values.moment(Timestamp(seconds=1, nanos=999_999_999)) == datetime(
        1970, 1, 1, 0, 0, 1, 999_999, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("address", "target", "tls"),
    [
        ("grpc://pachd:30650", "dns:///pachd:30650", False),
        ("grpcs://pachd.example.org:443", "dns:///pachd.example.org:443", True),
        ("grpc://[::1]:1", "dns:///[::1]:1", False),
        ("unix:/run/pfs.sock", "unix:/run/pfs.sock", False),
        ("unix:///run/pfs.sock", "unix:/run/pfs.sock", False),
    ],
)
def test_address(address: str, target: str, tls: bool) -> None:
    parsed = parse_address(address)
    assert (parsed.target, parsed.tls) == (target, tls)


@pytest.mark.parametrize("address", ["", "pachd:30650", "http://x:1", "grpc://x", "grpc://:1", "unix:x"])
def test_bad_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="not "):
        parse_address(address)
