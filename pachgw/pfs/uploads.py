"""PutFile: what the reactor hands over piece by piece becomes gRPC's request stream.

Here are the messages, their way to the sending thread with a bound on the bytes in hand, and the hashes. The
port's promise is kept here: the stream is half-closed, which commits it, by `finish` and by nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from queue import SimpleQueue
from typing import Any

import grpc
from twisted.internet.defer import Deferred

from pachgw.pfs.bridge import Bridge, Stopped
from pachgw.pfs.channel import Channels
from pachgw.pfs.filehash import FileHash
from pachgw.pfs.port import PFSError, TookTooLong, Unavailable
from pachgw.pfs.proto import pfs_pb2
from pachgw.room import Room

MESSAGE_BYTES = 1024 * 1024
"""Bytes are gathered to messages of at least this size, and at most twice it, before they cross threads."""

IN_HAND_BYTES = 3 * MESSAGE_BYTES
"""The most that waits to be sent or hashed; write() waits beyond it. Besides, an upload holds one message
that is being gathered, and gRPC one that is being sent."""

SLOW_MESSAGE_BYTES = 128 * 1024
"""The messages of who takes more than SLOW_SECONDS to fill one, and the least of all when room is short."""

SLOW_SECONDS = 1.0

ROOM_BYTES = 96 * 1024 * 1024
"""What all uploads of a process gather and have in hand; each may have three SLOW_MESSAGE_BYTES beyond it."""

MESSAGE_PART = 16
"""A message is one part in so many of the room that is left."""

INLINE_HASH_BYTES = 64 * 1024
"""Up to so many bytes are hashed on the reactor: a trip to a thread takes longer."""

_VALUE_TAG = b"\x1a"
"""Field 3 of PutFileRequest, `value`, with wire type 2."""


class _Mark(Enum):
    """What else a sending thread finds among its messages."""

    END = "end"
    ABORT = "abort"


class Aborted(Exception):
    """Raised in the sending thread, so that gRPC cancels the call rather than half-closes it."""


def encode(head: bytes, parts: tuple[bytes, ...]) -> bytes:
    """An encoded PutFileRequest: `head` is one without value, `parts` make up the value."""
    length = sum(map(len, parts))
    if not length:
        return head
    prefix = bytearray(_VALUE_TAG)
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return b"".join((head, bytes(prefix), *parts))


class PutFileUpload:
    """The port's Upload over one PutFile stream.

    The stream is begun with the first message that is full, or with the second; an upload that is one message
    in all is sent as a unary call. So many slow beginners hold neither a thread nor a call each.
    """

    def __init__(
        self,
        repo: str,
        branch: str,
        *,
        channels: Channels,
        bridge: Bridge,
        metadata: tuple[tuple[str, str], ...],
        idle_seconds: float,
        commit_seconds: float,
        failed: Callable[[grpc.RpcError], PFSError],
        room: Room | None = None,
    ) -> None:
        """`room` is what all uploads share; None: this one has ROOM_BYTES for itself."""
        self._repo = repo
        self._branch = branch
        self._channels = channels
        self._bridge = bridge
        self._metadata = metadata
        self._idle_seconds = idle_seconds
        self._commit_seconds = commit_seconds
        self._failed = failed

        self._head: bytes | None = None
        self._parts: list[bytes] = []
        self._gathered = 0
        self._gathering_since = 0.0
        self._room = room or Room(ROOM_BYTES)
        self._charged = 0
        self._hashes: list[FileHash] = []
        self._in_file = False

        self._call: Any = None
        self._messages: SimpleQueue[tuple[bytes, tuple[bytes, ...], int] | _Mark] = SimpleQueue()
        self._half_closing = False
        self._over = False
        self._answered = False
        self._failure: PFSError | None = None
        self._waiting: Deferred[None] | None = None

        self._last = 0
        """Bytes of the last message, which grpcio keeps until it has the next."""
        self._queued = 0
        self._sent = 0
        self._hashed = 0
        self._to_hash: deque[tuple[FileHash, tuple[bytes, ...], int]] = deque()
        self._hashing = False
        self._digested: tuple[bytes, ...] | None = None

    async def begin_file(self, path: str) -> None:
        """Begin a file that replaces whatever stands at `path`. Raises PFSError."""
        await self._flush()
        request = pfs_pb2.PutFileRequest(file=self._file(path), overwrite_index=pfs_pb2.OverwriteIndex())
        self._head = request.SerializeToString()
        self._hashes.append(FileHash())
        self._in_file = True

    async def delete_path(self, path: str) -> None:
        """Delete the file, or the directory with all below it. Raises PFSError."""
        await self._flush()
        self._head = pfs_pb2.PutFileRequest(file=self._file(path), delete=True).SerializeToString()
        self._in_file = False

    async def write(self, data: bytes) -> None:
        """More bytes of the file begun last; returns when there is room for the next. Raises PFSError."""
        self._check()
        if not self._in_file:
            raise ValueError("no file has been begun")
        if not data:
            return
        # A cut is a copy: where there is room enough a message may be as long as two.
        most = self._message_bytes()
        if most == MESSAGE_BYTES and self._gathered + len(data) <= 2 * most:
            self._gather(data)
            if self._gathered >= most:
                await self._flush()
            return
        start = 0
        while start < len(data):
            most = self._message_bytes()
            if self._gathered >= most:
                # There was more room when it was begun.
                await self._flush()
                continue
            part = data[start : start + most - self._gathered]
            self._gather(part)
            start += len(part)
            if self._gathered >= most:
                await self._flush()

    def _gather(self, part: bytes) -> None:
        if not self._parts:
            self._gathering_since = self._bridge.reactor.seconds()
        self._parts.append(part)
        self._gathered += len(part)
        self._charge()

    def _message_bytes(self) -> int:
        """How many bytes make a message now."""
        if self._parts and self._bridge.reactor.seconds() - self._gathering_since > SLOW_SECONDS:
            return SLOW_MESSAGE_BYTES
        return self._room.share(MESSAGE_PART, least=SLOW_MESSAGE_BYTES, most=MESSAGE_BYTES)

    @property
    def _in_hand(self) -> int:
        """Bytes that wait to be sent or hashed."""
        return self._queued - min(self._sent, self._hashed)

    def _charge(self) -> None:
        """Have what is held of the room that uploads share."""
        held = 0 if self._over else self._gathered + self._in_hand + self._last
        self._room.give(self._charged)
        self._room.take_anyhow(held)
        self._charged = held

    async def hashes(self) -> tuple[bytes, ...]:
        """The hashes of the files, in order, of which nothing more is written. Raises PFSError."""
        self._check()
        if self._call is None:
            await self._hash_gathered()
        else:
            await self._flush()
            while self._hashed < self._queued:
                await self._progress(self._idle_seconds)
        return self._digests()

    def _digests(self) -> tuple[bytes, ...]:
        if self._digested is None:
            self._digested = tuple(file_hash.digest() for file_hash in self._hashes)
        return self._digested

    async def finish(self) -> tuple[bytes, ...]:
        """Half-close and wait for the commit; the hashes of the files, in order. Raises PFSError."""
        self._check()
        if self._call is None:
            if self._head is not None:
                await self._send_at_once()
        else:
            await self._flush()
            self._half_closing = True
            self._messages.put(_Mark.END)
            until = self._bridge.reactor.seconds() + self._commit_seconds
            while not self._answered or self._hashed < self._queued:
                await self._progress(until - self._bridge.reactor.seconds())
        self._over = True
        self._charge()
        return self._digests()

    async def abort(self) -> None:
        """Cancel the call: nothing is committed. Does nothing after the end."""
        self._cancel(Unavailable("the upload was aborted"))

    def _file(self, path: str) -> pfs_pb2.File:
        repo = pfs_pb2.Repo(name=self._repo)
        return pfs_pb2.File(commit=pfs_pb2.Commit(repo=repo, id=self._branch), path=path)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._over or self._half_closing:
            raise ValueError("the upload has ended")

    def _cancel(self, reason: PFSError) -> None:
        if self._over:
            return
        self._over = True
        self._failure = self._failure or reason
        self._charge()
        if self._call is not None:
            # In this order: a sending thread that sees the mark finds the call cancelled.
            self._call.cancel()
            self._messages.put(_Mark.ABORT)

    async def _flush(self) -> None:
        """Hand what is gathered to the sending thread, when there is room for it."""
        self._check()
        if self._head is None and not self._parts:
            return
        head, parts = self._head or b"", tuple(self._parts)
        length = len(head) + self._gathered
        if self._call is None:
            self._begin()
        # Where room is short, one message at a time.
        while self._in_hand and (self._in_hand + length > IN_HAND_BYTES or length > self._room.left):
            await self._progress(self._idle_seconds)
        self._head, self._parts, self._gathered = None, [], 0
        self._queued += length
        self._last = length
        self._charge()
        self._messages.put((head, parts, length))
        if parts:
            self._to_hash.append((self._hashes[-1], parts, length))
            if not self._hashing:
                self._hashing = True
                Deferred.fromCoroutine(self._hash())
        else:
            self._hashed += length

    async def _progress(self, seconds: float) -> None:
        """Wait until something was sent, hashed or answered; cancels the call when that takes too long.

        A wait that is given up cancels the call as well: bytes that were to be sent would be missing.
        """
        if self._failure is not None:
            raise self._failure
        self._waiting = Deferred()
        timer = self._bridge.reactor.callLater(max(seconds, 0), self._stall, seconds)
        try:
            await self._waiting
        except BaseException:
            self._cancel(Unavailable("the upload was given up"))
            raise
        finally:
            self._waiting = None
            if timer.active():
                timer.cancel()
        if self._failure is not None:
            raise self._failure

    def _wake(self) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    def _stall(self, seconds: float) -> None:
        self._cancel(TookTooLong(f"PFS did not go on with an upload for {seconds:.0f} s"))
        self._wake()

    def _begin(self) -> None:
        try:
            self._call = self._channels.put_file.future(self._requests(), metadata=self._metadata)
        except ValueError as error:  # the channel is closed
            raise Unavailable(str(error)) from None
        self._call.add_done_callback(self._done)

    def _requests(self) -> Iterator[bytes]:
        """In gRPC's thread for this call. Its return half-closes the stream, its raising cancels it."""
        while True:
            item = self._messages.get()
            if item is _Mark.END:
                return
            if isinstance(item, _Mark):
                if self._call.done():
                    # gRPC does not half-close a call that has ended, and would log what is raised here.
                    return
                raise Aborted
            head, parts, length = item
            yield encode(head, parts)
            # Not kept while the next is waited for, which may take as long as the client likes.
            del item, head, parts
            self._bridge.reactor.callFromThread(self._count_sent, length)

    def _count_sent(self, length: int) -> None:
        self._sent += length
        self._charge()
        self._wake()

    def _done(self, call: Any) -> None:
        """In the channel's thread: the server has answered, or the call was cancelled or lost."""
        self._messages.put(_Mark.ABORT)
        error = None if call.code() is grpc.StatusCode.OK else self._failed(call)
        self._bridge.reactor.callFromThread(self._end, error)

    def _end(self, error: PFSError | None) -> None:
        if error is None and not self._half_closing:
            error = PFSError("PFS ended an upload that was not complete")
        if error is None:
            self._answered = True
        else:
            self._failure = self._failure or error
            self._over = True
            self._charge()
        self._wake()

    async def _hash(self) -> None:
        try:
            while self._to_hash:
                done = await self._bridge.run(self._hash_all)
                self._hashed += done  # not in one with the await, which would add to what was there before
                self._charge()
                self._wake()
        except Stopped:
            self._cancel(Unavailable("the client of PFS has been stopped"))
            self._wake()
        finally:
            self._hashing = False

    def _hash_all(self) -> int:
        """In a thread. The bytes counted for what was hashed."""
        done = 0
        while self._to_hash and done < MESSAGE_BYTES:
            file_hash, parts, length = self._to_hash.popleft()
            for part in parts:
                file_hash.update(part)
            done += length
        return done

    async def _hash_gathered(self) -> None:
        """Hash what is to be sent at once; once."""
        if not self._parts or self._digested is not None:
            return
        self._to_hash.append((self._hashes[-1], tuple(self._parts), 0))
        if self._gathered > INLINE_HASH_BYTES:
            try:
                await self._bridge.run(self._hash_all)
            except Stopped:
                raise Unavailable("the client of PFS has been stopped") from None
        else:
            self._hash_all()

    async def _send_at_once(self) -> None:
        await self._hash_gathered()
        head, parts = self._head or b"", tuple(self._parts)
        self._half_closing = True
        try:
            self._call = self._channels.put_file_at_once.future(
                encode(head, parts), timeout=self._commit_seconds, metadata=self._metadata
            )
        except ValueError as error:  # the channel is closed
            raise Unavailable(str(error)) from None
        try:
            await self._bridge.answer(self._call, lambda _empty: None)
        except grpc.RpcError as error:
            self._over = True
            self._failure = self._failed(error)
            self._charge()
            raise self._failure from None
        except grpc.FutureCancelledError:
            raise Unavailable("the upload was aborted") from None
