"""GetObjectTagging, PutObjectTagging and DeleteObjectTagging: the tags of one version of a key."""

from __future__ import annotations

from dataclasses import replace

from pachgw.messages import Response
from pachgw.pfs.port import NotAuthorized, Scope
from pachgw.s3.actions.finding import Found, find_object
from pachgw.s3.actions.metadata import find_description, find_record, new_record, write_record
from pachgw.s3.actions.writes import in_turn
from pachgw.s3.context import Call, writable_ref
from pachgw.s3.metadata.records import Pairs
from pachgw.s3.metadata.tagset import parse_tagging, render_tagging


async def get_object_tagging(call: Call) -> Response:
    """S3 GetObjectTagging. Raises NoSuchKey, NoSuchVersion, NoSuchBucket."""
    found = await find_object(call)
    description = await find_description(call, found.repo, found.info)
    return Response(
        status=200,
        headers=(("Content-Type", "application/xml"), ("x-amz-version-id", found.version_id)),
        body=render_tagging(description.tags),
    )


async def put_object_tagging(call: Call) -> Response:
    """S3 PutObjectTagging: the version stays, its tags are others.

    Raises as GetObjectTagging, MalformedXML, InvalidTag, AccessDenied.
    """
    return await _set_tags(call, parse_tagging(await call.read_xml()), status=200)


async def delete_object_tagging(call: Call) -> Response:
    """S3 DeleteObjectTagging. Raises as GetObjectTagging, AccessDenied."""
    return await _set_tags(call, (), status=204)


async def _set_tags(call: Call, tags: Pairs, *, status: int) -> Response:
    ref = writable_ref(call)
    # In the turn, since the rest of the record is read and written again.
    found = await in_turn(call, ref, lambda: _change(call, tags))
    return Response(status=status, headers=(("x-amz-version-id", found.version_id),))


async def _change(call: Call, tags: Pairs) -> Found:
    found = await find_object(call)
    record = await find_record(call, found.repo, found.info)
    if record is None:
        if not tags:
            if not await call.pfs.authorize(found.repo, Scope.WRITER):
                raise NotAuthorized(f"no scope to write to {found.repo}")
            return found
        record = await new_record(call, found.repo, found.info)
    description = replace(record.description, tags=tags)
    await write_record(
        call, found.repo, replace(record, description=description, written=call.shared.clock())
    )
    return found
