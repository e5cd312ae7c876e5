"""Writes of several requests as one commit: looked at, judged, placed and answered each for itself.

Small PUTs and single deletes of a branch and token that wait for its turn go together; which of them, is
decided in s3/writing/. A PUT that waits for nobody, and one whose stream is open, are groups of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pachgw.pfs.port import (
    CommitInfo,
    FileChange,
    NotAuthenticated,
    NotAuthorized,
    PFSError,
    Scope,
    Unavailable,
    Upload,
)
from pachgw.s3.actions.commits import date_of
from pachgw.s3.actions.conflicts import Spot, Standing, check_path, look
from pachgw.s3.actions.placing import Change, NewObject, place_all
from pachgw.s3.actions.together import together
from pachgw.s3.context import Call
from pachgw.s3.errors import S3Error
from pachgw.s3.names import BucketRef
from pachgw.s3.request.conditions import check_conditions, check_conditions_on_missing, has_conditions
from pachgw.s3.request.headers import etag_of
from pachgw.s3.writing.gathering import Member

LOOKS = 4
"""So often a group looks at its paths until all were seen in one commit; then its members go one by one."""

_FOR_ALL = (Unavailable, NotAuthenticated, NotAuthorized)
"""What is not about one of the changes: after Unavailable nobody knows, and the token is everybody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one request wants of one key, verified."""

    call: Call
    ref: BucketRef
    key: str
    path: str
    new: NewObject | None
    """None: the key's file is to go."""
    data: tuple[bytes, ...] = ()
    """The bytes, where they are in hand."""
    upload: Upload | None = None
    """The stream that has them otherwise; to be finished, or aborted by its owner."""


Writer = Member[Wish, CommitInfo | None]


async def write_together(wish: Wish) -> CommitInfo | None:
    """The commit in which the wish is fulfilled, perhaps with others of the same branch and token.

    None for a deletion of what is not there, and where the commit cannot be told. Raises as check_target, and
    what PFS says of this very change.
    """
    call, ref = wish.call, wish.ref
    member: Writer = Member(change=wish, path=wish.path, size=sum(map(len, wish.data)))
    branch = (ref.repo, ref.branch)
    commit: CommitInfo | None = await call.shared.gatherings.join(
        branch, call.identity.token, member, _commit
    )
    return commit


async def write_alone(wish: Wish) -> CommitInfo | None:
    """As write_together, for who holds the branch's turn already, or ends a stream in it."""
    member: Writer = Member(change=wish, path=wish.path)
    await _commit([member])
    return await member.answer


async def check_target(call: Call, ref: BucketRef, key: str, path: str) -> Standing:
    """What the write of the key would replace.

    Raises what check_path does, PreconditionFailed, and NoSuchKey for If-Match.
    """
    standing = await check_path(call.pfs, ref, path, key=key, heads=call.shared.heads)
    await _check_conditions(call, ref, key, standing)
    return standing


async def _check_conditions(call: Call, ref: BucketRef, key: str, standing: Standing) -> None:
    if standing.is_unseen and has_conditions(call.head.header):
        raise S3Error(
            "NotImplemented", "What is in the output cannot be seen before its pipeline has finished it."
        )
    if standing.file is None:
        check_conditions_on_missing(call.head.header, key=key)
    else:
        check_conditions(
            call.head.header,
            etag=etag_of(standing.file.hash),
            last_modified=await date_of(call, ref.repo, standing.file),
            is_read=False,
        )


async def _commit(members: Sequence[Writer]) -> None:
    """In the turn of the branch that all members name: one commit, and an answer for each of them.

    What PFS refuses is tried again by halves, each with a new look, until those are alone that it is about.
    """
    seen = await _look(members)
    if seen is None:
        for member in members:
            await _commit([member])
        return
    ready = await _judged(members, seen)
    if not ready:
        return
    wish = ready[0][0].change
    changes = [
        Change(key=member.change.key, path=member.path, new=member.change.new, standing=standing)
        for member, standing in ready
    ]
    was_written = False

    async def write() -> None:
        nonlocal was_written
        await _write([member.change for member, _ in ready])
        was_written = True

    try:
        placed = await place_all(wish.call, wish.ref, changes, write)
    except (S3Error, PFSError) as error:
        if len(ready) == 1 or was_written or isinstance(error, _FOR_ALL):
            for member, _ in ready:
                member.fail(error)
            return
        middle = len(ready) // 2
    else:
        for index, (member, _) in enumerate(ready):
            if placed.failed is not None and index in placed.unsaid:
                member.fail(placed.failed)
            else:
                member.settle(placed.commit)
        return
    for half in (ready[:middle], ready[middle:]):
        await _commit([member for member, _ in half])


async def _write(wishes: Sequence[Wish]) -> None:
    """One PutFile stream. What goes was seen as a file in this turn: PFS takes a directory as readily."""
    wish = wishes[0]
    if wish.upload is not None:
        await wish.upload.finish()
        return
    changes = [
        FileChange(path=wish.path, data=None if wish.new is None else wish.data)
        for wish in sorted(wishes, key=lambda wish: wish.new is not None)
    ]
    await wish.call.pfs.change_files(wish.ref.repo, wish.ref.branch, changes)


async def _look(members: Sequence[Writer]) -> list[Standing | Exception] | None:
    """What stands at each member's path, or its error: all of one commit; None where that cannot be had."""
    ref, heads = members[0].change.ref, members[0].change.call.shared.heads
    spots = [
        Spot(
            pfs=member.change.call.pfs,
            path=member.path,
            key=member.change.key,
            is_to_go=member.change.new is None,
        )
        for member in members
    ]
    for _ in range(LOOKS):
        seen = await look(ref, spots, heads)
        # Which commit lacks what is missing and is to go counts for nothing.
        commits = {
            each.commit
            for spot, each in zip(spots, seen, strict=True)
            if isinstance(each, Standing) and not (spot.is_to_go and each.file is None)
        }
        if len(commits) <= 1 or len(members) == 1:
            return list(seen)
    return None


async def _judged(
    members: Sequence[Writer], seen: Sequence[Standing | Exception]
) -> list[tuple[Writer, Standing]]:
    """Those whose conditions hold and that have something to write; the others are settled."""

    async def judge(member: Writer, standing: Standing) -> None:
        wish = member.change
        try:
            await _check_conditions(wish.call, wish.ref, wish.key, standing)
        except (S3Error, PFSError) as error:
            member.fail(error)

    standings: list[tuple[Writer, Standing]] = []
    for member, each in zip(members, seen, strict=True):
        if isinstance(each, Exception):
            member.fail(each)
        else:
            standings.append((member, each))
    await together(
        judge(member, standing)
        for member, standing in standings
        if has_conditions(member.change.call.head.header)
    )
    absent: list[Writer] = []
    ready: list[tuple[Writer, Standing]] = []
    for member, standing in standings:
        if member.is_refused:
            continue
        if member.change.new is None and standing.file is None and not standing.is_unseen:
            absent.append(member)
        else:
            ready.append((member, standing))
    if absent:
        await _settle_absent(absent)
    return ready


async def _settle_absent(members: Sequence[Writer]) -> None:
    """Deletions of what is not there make no commit; who may not write is told so all the same."""
    wish = members[0].change
    try:
        if not await wish.call.pfs.authorize(wish.ref.repo, Scope.WRITER):
            raise NotAuthorized(f"no scope to delete from {wish.ref.repo}")
    except PFSError as error:
        for member in members:
            member.fail(error)
        return
    for member in members:
        member.settle(None)
