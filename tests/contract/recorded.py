"""Recorded scenarios: reading them, making their calls on another server, comparing what it answers.

A recording is a file of JSON lines; its first line says what the lines hold and which placeholders stand for
values that differ from run to run. Nothing here knows which server is asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from pachgw.pfs.proto import admin_pb2, auth_pb2, health_pb2, pfs_pb2, version_pb2

DATA = Path(__file__).parent.parent / "data" / "pfs"

_SERVICES: dict[str, ServiceDescriptor] = {
    service.full_name: service
    for module in (pfs_pb2, auth_pb2, version_pb2, admin_pb2, health_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
}
_PLACEHOLDER = re.compile(
    r"\$(?:REPO|TIME|TTL|COMMIT\d+|TREE\d+|OTP\d+|TOKEN_[A-Z]+|TOKEN\d+|UPLOAD\d+)|\$(UPPER|SHA256)\((\w+)\)|\$(\w)\{(\d+)\}"
)
_FORMS = {
    "COMMIT": "[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}",
    "TREE": "[0-9a-f]{128}",
    "TOKEN": "[0-9a-f]{32}",
    "OTP": "otp/[0-9a-f]{32}",
    "UPLOAD": "[0-9a-z]+",
}
_LONG_BYTES = 64
_ANY_TIMEOUT = 60.0
_SHOWN = 2000

Scenario = dict[str, Any]


class Mismatch(AssertionError):
    """The server answered something else than the recording."""


class Unbound(Exception):
    """A request needs a value that no answer has given yet."""


def load(name: str) -> list[Scenario]:
    """The scenarios of a recording, without its header."""
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[1:]]


class Bindings:
    """What the placeholders of one scenario stand for."""

    def __init__(self, **known: str) -> None:
        self._values = {f"${name}": value for name, value in known.items()}

    def fill(self, value: Any) -> Any:
        """The value with every placeholder replaced. Raises Unbound."""
        if isinstance(value, str):
            return _PLACEHOLDER.sub(self._replacement, value)
        if isinstance(value, Mapping):
            return {key: self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        return value

    def get(self, placeholder: str, default: str) -> str:
        """What the placeholder stands for, if it is known."""
        return self._values.get(placeholder, default)

    def _replacement(self, found: re.Match[str]) -> str:
        function, name, letter, count = found.groups()
        if letter:
            return letter.lower() * int(count)
        if function == "UPPER":
            return self._values[f"${name}"].upper()
        if function == "SHA256":
            return hashlib.sha256(self._values[f"${name}"].encode()).hexdigest()
        if found[0] not in self._values:
            raise Unbound(found[0])
        return self._values[found[0]]

    def match(self, expected: str, actual: str, where: str) -> None:
        """Compare texts and bind what is met for the first time. Raises Mismatch."""
        pattern, at, new = "", 0, []
        for found in _PLACEHOLDER.finditer(expected):
            pattern += re.escape(expected[at : found.start()])
            at = found.end()
            kind = re.sub(r"\d+$|_[A-Z]+$", "", found[0][1:])
            if found[0] == "$TIME":
                pattern += r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"
            elif found[0] == "$TTL":
                pattern += r"[1-9]\d*"
            elif found[0] in self._values or found[1] or found[3]:
                pattern += re.escape(self._replacement(found))
            elif found[0] in new:
                pattern += f"(?P={found[0][1:]})"
            else:
                new.append(found[0])
                pattern += f"(?P<{found[0][1:]}>{_FORMS[kind]})"
        matched = re.fullmatch(pattern + re.escape(expected[at:]), actual, re.DOTALL)
        if matched is None:
            raise Mismatch(f"{where}: expected {self._shown(expected)!r}, got {actual!r}")
        for placeholder in new:
            value = matched[placeholder[1:]]
            if value in self._values.values():
                raise Mismatch(f"{where}: {placeholder} is {value}, which stood for something else")
            self._values[placeholder] = value

    def _shown(self, expected: str) -> str:
        return _PLACEHOLDER.sub(lambda found: self._values.get(found[0], found[0]), expected)

    def compare(self, expected: Any, actual: Any, where: str) -> None:
        """Raises Mismatch where the JSON forms of two answers differ."""
        if isinstance(expected, dict) and set(expected) == {"len", "sha256"} and isinstance(actual, str):
            data = base64.b64decode(actual)
            actual = {"len": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        if isinstance(expected, dict) and isinstance(actual, dict):
            keys = {self.fill(key): key for key in expected}
            if set(keys) != set(actual):
                raise Mismatch(f"{where}: expected {_short(expected)}, got {_short(actual)}")
            for key, original in keys.items():
                self.compare(expected[original], actual[key], f"{where}.{key}")
        elif isinstance(expected, list) and isinstance(actual, list):
            if len(expected) != len(actual):
                raise Mismatch(f"{where}: expected {len(expected)} items, got {_short(actual)}")
            for index, (left, right) in enumerate(zip(expected, actual, strict=True)):
                self.compare(left, right, f"{where}[{index}]")
        elif isinstance(expected, str) and isinstance(actual, str):
            self.match(expected, actual, where)
        elif expected != actual:
            raise Mismatch(f"{where}: expected {_short(expected)}, got {_short(actual)}")


class Replay:
    """Makes the calls of scenarios on a channel."""

    def __init__(self, channel: grpc.Channel, *, same_details: Callable[[str, str], bool]) -> None:
        """`same_details`: whether two error texts that differ are equal all the same."""
        self._channel = channel
        self._same_details = same_details

    def run(self, scenario: Scenario, bindings: Bindings) -> None:
        """Every call of the scenario in order. Raises Mismatch at the first that differs, Unbound."""
        for number, call in enumerate(scenario["calls"]):
            self._call(call, bindings, f"call {number} {call['rpc']}")

    def _call(self, call: Mapping[str, Any], bindings: Bindings, where: str) -> None:
        method = _method(call["rpc"])
        answers: list[Any] = []
        status, details = "OK", ""
        try:
            for answer in self.invoke(method, call, bindings):
                answers.append(_to_json(answer))
                if len(answers) == call.get("cancelled_after"):
                    break
        except grpc.RpcError as error:
            status, details = error.code().name, error.details() or ""
        if call["status"] == "SERVER_CRASH":
            if status != "UNKNOWN" or not details:
                raise Mismatch(f"{where}: expected an error, got {status} {details!r}")
            return
        if status != call["status"]:
            raise Mismatch(
                f"{where}: expected {call['status']} {call.get('details', '')!r}, got {status} {details!r}"
            )
        if status not in ("OK", "DEADLINE_EXCEEDED") and not self._same_details(call["details"], details):
            bindings.match(call["details"], details, f"{where} details")
        if "responses" in call:
            bindings.compare(call["responses"], answers, f"{where} responses")
        elif "response" in call:
            bindings.compare(call["response"], answers[0], f"{where} response")

    def invoke(
        self, method: MethodDescriptor, call: Mapping[str, Any], bindings: Bindings
    ) -> Iterator[Message]:
        """The answers to one recorded call."""
        request_class = GetMessageClass(method.input_type)
        requests = [
            ParseDict(_long_bytes(bindings.fill(request)), request_class())
            for request in call.get("requests", [call.get("request", {})])
        ]
        kind = "stream" if method.client_streaming else "unary"
        answer_kind = "stream" if method.server_streaming else "unary"
        stub = getattr(self._channel, f"{kind}_{answer_kind}")(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        options = {"metadata": _metadata(bindings.fill(call.get("metadata", {}))), "timeout": _timeout(call)}
        answer = stub(iter(requests) if method.client_streaming else requests[0], **options)
        if not method.server_streaming:
            yield answer
            return
        try:
            yield from answer
        finally:
            answer.cancel()


def _timeout(call: Mapping[str, Any]) -> float:
    return float(call.get("deadline_s", _ANY_TIMEOUT))


def find_method(rpc: str) -> MethodDescriptor | None:
    """The method, named as in a recording; None for one of a service that is not served."""
    service, _, name = rpc.rpartition("/")
    known = _SERVICES.get(service or "pfs.API")
    return None if known is None else known.methods_by_name.get(name)


def _method(rpc: str) -> MethodDescriptor:
    method = find_method(rpc)
    if method is None:
        raise Unbound(rpc)
    return method


def _metadata(recorded: Any) -> list[tuple[str, str]]:
    pairs = recorded.items() if isinstance(recorded, dict) else recorded
    return [(str(key), str(value)) for key, value in pairs]


def _long_bytes(value: Any) -> Any:
    """Requests with long bytes: {len, sha256, gen_from} becomes base64."""
    if isinstance(value, dict):
        if "gen_from" in value:
            return base64.b64encode(generated(value["gen_from"], value["len"])).decode()
        return {key: _long_bytes(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_long_bytes(item) for item in value]
    return value


def generated(start: int, length: int) -> bytes:
    """Byte i is (start + i) mod 251."""
    cycle = bytes((start + i) % 251 for i in range(251))
    return (cycle * (length // 251 + 1))[:length]


def _short(value: Any) -> str:
    """As many megabytes as answers may have, nobody reads more than their beginning."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _to_json(message: Message) -> Any:
    value = MessageToDict(message, preserving_proto_field_name=True)
    if isinstance(value, dict):
        for key in ("entries", "admins"):
            if isinstance(value.get(key), list):
                value[key].sort(key=lambda item: item["username"] if isinstance(item, dict) else item)
    return value
