"""Recorded scenarios of the reference's S3 gateway: making their requests on ours, comparing the answers.

Which answers are meant to differ stands in s3_differences; how requests are signed, in s3_signing.
"""

from __future__ import annotations

import json
import re
import socket
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import grpc
from auth_stage import await_expiry
from google.protobuf.json_format import ParseDict
from raw import Answer
from recorded import Bindings, Mismatch, Replay, Scenario, Unbound, generated
from s3_differences import MULTIPART_REPO, WANT_OF_SCOPE, WITHOUT_MULTIPART_REPO, Ours
from s3_signing import Outgoing, presigned, signed
from wire import Closed, Wire

from pachgw.pfs.proto import pfs_pb2, pfs_pb2_grpc

DATA = Path(__file__).parent.parent / "data" / "s3"
LEVELS = "http://s3.amazonaws.com/doc/2006-03-01/"

# Where the reference answers as Go's file server does, in plain text or without a word, S3 has codes.
_CODES_OF_PLAIN_ANSWERS = {400: "InvalidArgument", 412: "PreconditionFailed", 416: "InvalidRange"}
_ETAG = re.compile(r'"[0-9a-f]{64}"')
_HASH = re.compile(rb"\b[0-9a-f]{64}\b")
_COMMIT = re.compile(r"[0-9a-f]{12}4[0-9a-f]{19}")
_BASE64 = re.compile(r"\$BASE64\(([^)]*)\)")
_UPLOAD = re.compile(r"\$UPLOAD\d+")
_COMPARED_HEADERS = ("Content-Length", "Content-Range", "Accept-Ranges")
_ANSWERED = {"status", "details", "response", "responses"}
# The bodies that are no text, which the recording has in base64.
_BYTES = ("iVBORw0KGgo=",)
NO_UPLOAD = "0" * 32

State = tuple[tuple[str, str, str], ...]
"""Repo, branch and head."""


def load(name: str) -> list[Scenario]:
    """The scenarios of a recording, without its header."""
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[1:]]


class Player:
    """Makes the calls of scenarios, PFS calls on a channel and requests on the gateway's address."""

    def __init__(self, url: str, channel: grpc.Channel, *, admin: str | None = None) -> None:
        """`admin` is a token that sees every repo, where auth is on."""
        self._url = url
        self._channel = channel
        self._replay = Replay(channel, same_details=lambda recorded, ours: False)
        self._pfs = pfs_pb2_grpc.APIStub(channel)
        self._metadata: tuple[tuple[str, str], ...] = (("authn-token", admin),) if admin else ()
        self._last_modified = ""

    def run(self, scenario: Scenario, bindings: Bindings, ours: Mapping[int, Ours]) -> None:
        """Every call in order. Raises Mismatch at the first answer that is not as recorded or in `ours`."""
        unused = set(ours)
        for number, call in enumerate(scenario["calls"]):
            self.step(number, call, bindings, ours.get(number))
            unused.discard(number)
        if unused:
            raise Mismatch(f"there are no calls {sorted(unused)}")

    def step(self, number: int, call: Mapping[str, Any], bindings: Bindings, ours: Ours | None) -> None:
        """One call. Raises Mismatch, also where the recorded answer was not to come and came."""
        if "rpc" in call:
            self._rpc(number, call, bindings, ours)
            return
        request = call["request"]
        method = request["method"]
        where = f"call {number} {method} {request['path']}"
        if call.get("note", "").startswith("five seconds later"):
            await_expiry(self._channel, bindings.fill(_token_of(request["auth"])))
        before = None if method in {"GET", "HEAD"} else self._state()
        answer = self._ask(request, bindings)
        if not 200 <= answer.status < 300 and before is not None and self._state() != before:
            raise Mismatch(f"{where}: refused, and something changed")
        if "last-modified" in answer.headers:
            self._last_modified = answer.headers["last-modified"]
        if ours is None:
            compare(_with_want_of_scope(call["response"]), answer, bindings, method, where)
        else:
            compare_ours(ours, answer, bindings, method, where)
            _bind_version(call["response"], answer, bindings, where)
            _compare_differs(call["response"], answer, bindings, method, where)

    def _rpc(self, number: int, call: Mapping[str, Any], bindings: Bindings, ours: Ours | None) -> None:
        where = f"call {number} {call['rpc']}"
        if ours is None and MULTIPART_REPO in json.dumps(call):
            # Nothing makes this repo: uploads in parts are refused.
            instead: Mapping[str, Any] | None = WITHOUT_MULTIPART_REPO[call["rpc"]]
        else:
            instead = ours.rpc if ours else None
        if instead is not None:
            call = {**{name: value for name, value in call.items() if name not in _ANSWERED}, **instead}
        try:
            if "paths" in call:
                self._compare_paths(call, bindings)
            elif "commits" in call:
                self._compare_commits(call, bindings)
            else:
                self._replay.run({"calls": [call]}, bindings)
        except Mismatch as mismatch:
            raise Mismatch(f"{where}: {mismatch}") from None

    def _compare_paths(self, call: Mapping[str, Any], bindings: Bindings) -> None:
        request = ParseDict(bindings.fill(call["request"]), pfs_pb2.ListFileRequest())
        metadata = tuple(bindings.fill(call.get("metadata", {})).items())
        paths = [info.file.path for info in self._pfs.ListFileStream(request, metadata=metadata)]
        if paths != list(call["paths"]):
            raise Mismatch(f"expected {call['paths']}, got {paths}")

    def _compare_commits(self, call: Mapping[str, Any], bindings: Bindings) -> None:
        request = ParseDict(bindings.fill(call["request"]), pfs_pb2.ListCommitRequest())
        metadata = tuple(bindings.fill(call.get("metadata", {})).items())
        commits = list(self._pfs.ListCommitStream(request, metadata=metadata))
        if len(commits) != call["commits"]:
            raise Mismatch(f"expected {call['commits']} commits, got {commits}")

    def _state(self) -> State:
        metadata = self._metadata
        repos = self._pfs.ListRepo(pfs_pb2.ListRepoRequest(), metadata=metadata).repo_info
        requests = [pfs_pb2.ListBranchRequest(repo=info.repo) for info in repos]
        return tuple(
            (branch.branch.repo.name, branch.branch.name, branch.head.id)
            for request in requests
            for branch in self._pfs.ListBranch(request, metadata=metadata).branch_info
        )

    def _ask(self, recorded: Mapping[str, Any], bindings: Bindings) -> Answer:
        """The answer; status 0 where the connection ends without one."""
        request = self._outgoing(recorded, bindings)
        headers = dict(request.headers)
        body = request.body
        if "transfer_encoding" in recorded:
            headers["Transfer-Encoding"] = recorded["transfer_encoding"]
            body = f"{len(body or b''):x}".encode() + b"\r\n" + (body or b"") + b"\r\n0\r\n\r\n"
        elif body is not None:
            headers.setdefault("Content-Length", str(len(body)))
        with Wire(self._url) as wire:
            try:
                wire.head(request.method, request.target.encode(), headers)
                if body:
                    wire.send(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # Refused before the body was whole: the answer is there to be read.
            if _is_short(headers, body):
                wire.socket.shutdown(socket.SHUT_WR)
            try:
                return wire.answer(request.method)
            except Closed:
                return Answer(status=0, headers={}, body=b"")

    def _outgoing(self, recorded: Mapping[str, Any], bindings: Bindings) -> Outgoing:
        fill = self._filler(bindings)
        body = recorded.get("body")
        if isinstance(body, Mapping):
            sent: bytes | None = generated(body["gen_from"], body["len"])
        else:
            sent = b64decode(body) if body in _BYTES else None if body is None else fill(body).encode()
            if sent is not None and sent.startswith(b"<CompleteMultipartUpload"):
                sent = _HASH.sub(rb"\g<0>-1", sent)
        target = recorded["path"]
        presigning = "$SIGNATURE" in target
        if not presigning:
            target = fill(target)
        headers = {name: _our_etags(name, fill(text)) for name, text in recorded.get("headers", {}).items()}
        now = datetime.now(UTC)
        for name, text in headers.items():
            at = (
                f"{now:%Y%m%dT%H%M%SZ}" if name.lower() == "x-amz-date" else format_datetime(now, usegmt=True)
            )
            headers[name] = text.replace("$NOW", at)
        request = Outgoing(method=recorded["method"], target=target, headers=headers, body=sent)
        if presigning:
            filled = re.sub(r"\$(?:REPO|TOKEN_[A-Z]+)", lambda found: bindings.fill(found[0]), target)
            request = Outgoing(method=request.method, target=filled, headers=headers, body=sent)
            target = presigned(request, bindings.fill(_token_of(recorded["path"])))
            request = Outgoing(method=request.method, target=target, headers=headers, body=sent)
        return signed(request, fill(recorded["auth"])) if "auth" in recorded else request

    def _filler(self, bindings: Bindings) -> Callable[[str], str]:
        def fill(text: str) -> str:
            text = text.replace("$HTTPTIME", self._last_modified)
            # Of an upload that we refused to begin nothing is known.
            text = _UPLOAD.sub(lambda found: bindings.get(found[0], NO_UPLOAD), text)
            text = _BASE64.sub(lambda found: f"$[{found[1]}]", text)
            text = re.sub(
                r"\$\[([^\]]*)\]",
                lambda found: b64encode(
                    re.sub(r"TOKEN_[A-Z]+", lambda name: bindings.fill("$" + name[0]), found[1]).encode()
                ).decode(),
                text,
            )
            return str(bindings.fill(text))

        return fill


def _compare_differs(
    recorded: Mapping[str, Any], answer: Answer, bindings: Bindings, method: str, where: str
) -> None:
    """Raises Mismatch where an answer that is listed as a difference is none."""
    try:
        compare(_with_want_of_scope(recorded), answer, bindings, method, where)
    except (Mismatch, ElementTree.ParseError):
        return
    raise Mismatch(f"{where}: as recorded, and listed as a difference")


def _with_want_of_scope(recorded: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recorded answer with 403 AccessDenied where the reference calls want of scope an internal error."""
    if recorded.get("status") == 500 and (not recorded["body"] or WANT_OF_SCOPE in recorded["body"]):
        body = "<Error><Code>AccessDenied</Code></Error>" if recorded["body"] else ""
        return {**recorded, "status": 403, "body": body}
    if WANT_OF_SCOPE in recorded.get("body", ""):
        return {**recorded, "body": recorded["body"].replace(">InternalError<", ">AccessDenied<")}
    return recorded


def _is_short(headers: Mapping[str, str], body: bytes | None) -> bool:
    """Whether more is announced than there is to send."""
    length = headers.get("Content-Length", "")
    return length.isdecimal() and int(length) > len(body or b"")


def _token_of(text: str) -> str:
    """The placeholder of a token in a recorded path or signature."""
    found = re.search(r"\$TOKEN(?:_[A-Z]+|\d+)", text)
    if found is None:
        raise Unbound(text)
    return found[0]


def _our_etags(name: str, text: str) -> str:
    """A recorded ETag in a condition stands for the one that was answered."""
    return re.sub(r"[0-9a-f]{64}", r"\g<0>-1", text) if "if-" in name.lower() else text


def _compare_refusal(answer: Answer, status: int, code: str, method: str, where: str) -> None:
    if answer.status != status or (method != "HEAD" and answer.code != code):
        raise Mismatch(f"{where}: expected {status} {code}, got {_shown(answer)}")


def _shown(answer: Answer) -> str:
    return f"{answer.status} {answer.code or answer.body[:1500]!r}"


def compare(recorded: Mapping[str, Any], answer: Answer, bindings: Bindings, method: str, where: str) -> None:
    """Raises Mismatch where the answer breaks the contract that the recorded one shows."""
    if answer.status != recorded.get("status", 0):
        raise Mismatch(f"{where}: expected {recorded.get('status', 0)}, got {_shown(answer)}")
    headers = {name.lower(): text for name, text in recorded["headers"].items()}
    body = recorded["body"]
    if answer.status >= 400:
        if method != "HEAD":
            found = re.search("<Code>([^<]*)</Code>", body)
            code = found[1] if found else _CODES_OF_PLAIN_ANSWERS[answer.status]
            _compare_refusal(answer, answer.status, code, method, where)
        return
    _compare_headers(headers, answer, bindings, where)
    if method == "HEAD":
        if answer.body:
            raise Mismatch(f"{where}: a body for HEAD")
    elif headers.get("content-type") == "application/xml":
        if answer.headers.get("content-type") != "application/xml":
            raise Mismatch(f"{where}: no XML: {_shown(answer)}")
        _compare_xml(body, answer.body, bindings, where)
    elif answer.body != bindings.fill(body).encode():
        raise Mismatch(f"{where}: expected {body!r}, got {_shown(answer)}")


def _compare_headers(recorded: Mapping[str, str], answer: Answer, bindings: Bindings, where: str) -> None:
    ours = answer.headers
    is_xml = recorded.get("content-type") == "application/xml"
    for name in map(str.lower, _COMPARED_HEADERS):
        if name in recorded and not is_xml and recorded[name] != ours.get(name):
            raise Mismatch(f"{where}: {name}: expected {recorded[name]}, got {_shown(answer)}")
    if "etag" in recorded and ours.get("etag") != f'{recorded["etag"][:-1]}-1"':
        raise Mismatch(f"{where}: etag: expected {recorded['etag']}, got {_shown(answer)}")
    if "last-modified" in recorded:
        parsedate_to_datetime(ours.get("last-modified", ""))
    if "x-amz-version-id" in recorded:
        _bind_version({"headers": recorded}, answer, bindings, where)
        if not _COMMIT.fullmatch(ours.get("x-amz-version-id", "")):
            raise Mismatch(f"{where}: no commit for a version id: {_shown(answer)}")


def _bind_version(recorded: Mapping[str, Any], answer: Answer, bindings: Bindings, where: str) -> None:
    expected = {name.lower(): text for name, text in recorded.get("headers", {}).items()}
    version = expected.get("x-amz-version-id", "")
    if "x-amz-copy-source-version-id" in expected:
        # The reference gives the source's for it, or nothing.
        return
    if version.startswith("$COMMIT") and answer.status < 300:
        bindings.match(version, answer.headers.get("x-amz-version-id", ""), f"{where} version id")


def compare_ours(ours: Ours, answer: Answer, bindings: Bindings, method: str, where: str) -> None:
    """Raises Mismatch where the answer is not the one that we want in place of the recorded one."""
    if ours.code:
        _compare_refusal(answer, ours.status, ours.code, method, where)
    elif answer.status != ours.status:
        raise Mismatch(f"{where}: expected {ours.status}, got {_shown(answer)}")
    for name, text in ours.headers.items():
        bindings.match(text, answer.headers.get(name, ""), f"{where} {name}")
    if ours.body is not None and answer.body.decode() != bindings.fill(ours.body):
        raise Mismatch(f"{where}: expected {ours.body!r}, got {_shown(answer)}")
    if ours.elements is not None:
        for name, texts in ours.elements.items():
            found = answer.all(name)
            if found != [bindings.fill(text) for text in texts]:
                raise Mismatch(f"{where}: {name}: expected {texts}, got {found}")


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _compare_xml(recorded: str, body: bytes, bindings: Bindings, where: str) -> None:
    expected, actual = ElementTree.fromstring(recorded), ElementTree.fromstring(body)
    if (expected.tag, actual.tag) != (actual.tag, actual.tag):
        raise Mismatch(f"{where}: {actual.tag} in place of {expected.tag}")
    left, right = dict(_elements(expected, _in_s3_form)), dict(_elements(actual, _what_is_compared))
    if set(left) != set(right):
        missing, more = sorted(set(left) - set(right)), sorted(set(right) - set(left))
        raise Mismatch(f"{where}: missing {missing}, more {more}: {body!r}")
    for path, text in left.items():
        bindings.match(text, right[path], f"{where} {path}")


def _in_s3_form(root: ElementTree.Element) -> ElementTree.Element:
    """What the reference says, in S3's order and without what S3 does not say."""
    for prefixes in root.findall(f"{{{LEVELS}}}CommonPrefixes"):
        for owner in prefixes.findall(f"{{{LEVELS}}}Owner"):
            prefixes.remove(owner)
    _multipart_in_s3_form(root)
    marker = root.find(f"{{{LEVELS}}}NextMarker")
    if marker is not None and root.find(f"{{{LEVELS}}}Delimiter") is None:
        root.remove(marker)
    for parent in root.iter():
        parent[:] = sorted(parent, key=_order)
    for element in root.iter():
        if _local(element.tag) == "ETag" and element.text:
            # The reference leaves the quotes out in the answer of a copy.
            quoted = element.text if '"' in element.text else f'"{element.text}"'
            element.text = _ETAG.sub(lambda found: f'{found[0][:-1]}-1"', quoted)
    return root


def _multipart_in_s3_form(root: ElementTree.Element) -> None:
    """The reference names the next page also where there is none, does not know prefixes or owners."""
    kind = _local(root.tag)
    if kind == "CompleteMultipartUploadResult":
        _remove(root, "Location")
    if kind == "ListMultipartUploadsResult":
        if root.findtext(f"{{{LEVELS}}}IsTruncated") == "false":
            _remove(root, "NextKeyMarker", "NextUploadIdMarker")
        if root.find(f"{{{LEVELS}}}Prefix") is None:
            ElementTree.SubElement(root, f"{{{LEVELS}}}Prefix")
        for upload in root.findall(f"{{{LEVELS}}}Upload"):
            _remove(upload, "Owner")
    if kind == "ListPartsResult" and root.findtext(f"{{{LEVELS}}}IsTruncated") == "false":
        _remove(root, "NextPartNumberMarker")


def _what_is_compared(root: ElementTree.Element) -> ElementTree.Element:
    """Our answer without what the reference says otherwise, or not, on purpose."""
    kind = _local(root.tag)
    if kind == "CompleteMultipartUploadResult":
        # The reference has its region there, S3 the object's address.
        _remove(root, "Location")
    for upload in root.findall(f"{{{LEVELS}}}Upload"):
        _remove(upload, "Owner")
    if kind == "ListPartsResult":
        for part in root.findall(f"{{{LEVELS}}}Part"):
            _remove(part, "LastModified", "Size")
    return root


def _remove(parent: ElementTree.Element, *names: str) -> None:
    for name in names:
        for child in parent.findall(f"{{{LEVELS}}}{name}"):
            parent.remove(child)


def _order(element: ElementTree.Element) -> tuple[str, bytes]:
    """Entries by their names in UTF-8; each kind of element by itself."""
    for name in ("Key", "Name", "Prefix"):
        named = element.find(f"{{{LEVELS}}}{name}")
        if named is not None:
            return element.tag, (named.text or "").encode()
    return element.tag, b""


def _elements(
    root: ElementTree.Element, prepare: Callable[[ElementTree.Element], ElementTree.Element]
) -> Iterator[tuple[str, str]]:
    """Path and text of each element that has no children; messages are for people."""

    def walk(element: ElementTree.Element, path: str) -> Iterator[tuple[str, str]]:
        if not len(element):
            yield path, element.text or ""
        counts: dict[str, int] = {}
        for child in element:
            name = _local(child.tag)
            if name == "Message":
                continue
            counts[name] = counts.get(name, 0) + 1
            yield from walk(child, f"{path}/{name}[{counts[name]}]")

    yield from walk(prepare(root), _local(root.tag))
