"""ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation, GetBucketVersioning.

A bucket is a branch of a repo, or one commit.
"""

from __future__ import annotations

from pachgw.messages import Response
from pachgw.pfs.port import (
    AlreadyExists,
    BranchNotFound,
    NoHead,
    PathNotFound,
    RepoNotFound,
    Scope,
)
from pachgw.s3.actions.commits import commit_to_read, inspect_target
from pachgw.s3.actions.conflicts import has_files
from pachgw.s3.actions.uploads import forget_uploads
from pachgw.s3.context import Call, writable_ref
from pachgw.s3.errors import S3Error
from pachgw.s3.listing.buckets import page_of, parse_bucket_params
from pachgw.s3.names import BucketRef, bucket_name
from pachgw.s3.reserved import is_reserved
from pachgw.s3.xml.body import parse_create_bucket
from pachgw.s3.xml.render import render_buckets, render_location, render_versioning

REGION = "PACHYDERM"
"""What GetBucketLocation says, as Pachyderm's own gateway does."""


def _xml(body: bytes) -> Response:
    return Response(status=200, headers=(("Content-Type", "application/xml"),), body=body)


async def list_buckets(call: Call) -> Response:
    """S3 ListBuckets: every branch of every repo that the access key is for, by name.

    Raises InvalidArgument.
    """
    params = parse_bucket_params(call.target.query)
    permit = call.identity.permit
    repos = await call.pfs.list_repo()
    if not repos:
        # Without repos PFS answers without having looked at the token.
        await call.pfs.who_am_i()
    names = (
        (bucket_name(repo.name, branch), repo.created)
        for repo in repos
        for branch in repo.branches
        if not is_reserved(branch) and permit.sees(BucketRef(repo=repo.name, branch=branch))
    )
    return _xml(render_buckets(page_of(names, params, region=REGION)))


async def create_bucket(call: Call) -> Response:
    """S3 CreateBucket: makes the repo where it is missing, and the branch.

    Raises BucketAlreadyOwnedByYou, InvalidBucketName, MalformedXML, AccessDenied.
    """
    ref = call.ref()
    if ref.commit is not None:
        raise S3Error("InvalidBucketName", "A bucket that is one commit cannot be created.")
    parse_create_bucket(await call.read_xml())
    # The turn of the whole repo: its last branch may be going at this moment.
    await call.shared.turns.run(ref.repo, lambda: _create(call, ref))
    return Response(status=200, headers=(("Location", f"/{call.bucket}"),))


async def _create(call: Call, ref: BucketRef) -> None:
    # Looked for first: CreateBranch on a branch that exists would take its head away.
    try:
        await call.pfs.inspect_branch(ref.repo, ref.branch)
    except (RepoNotFound, BranchNotFound):
        pass
    else:
        raise AlreadyExists(call.bucket)
    repo_made = False
    try:
        await call.pfs.create_repo(ref.repo)
        repo_made = True
    except AlreadyExists:
        pass
    try:
        await call.pfs.create_branch(ref.repo, ref.branch)
    except BaseException:
        if repo_made:
            await call.pfs.delete_repo(ref.repo)
        raise


async def head_bucket(call: Call) -> Response:
    """S3 HeadBucket: 200 for a branch, or for a commit of the repo, that the caller may read.

    Raises NoSuchBucket, AccessDenied.
    """
    await require_scope(call, Scope.READER)
    return Response(status=200)


async def require_scope(call: Call, scope: Scope) -> None:
    """Return where the bucket is there and the caller has the scope. Raises NoSuchBucket, AccessDenied."""
    await _inspect(call)
    # PFS shows a branch to anybody with a token; S3 answers so to who has access to the bucket.
    if not await call.pfs.authorize(call.ref().repo, scope):
        raise S3Error("AccessDenied", "Access Denied.")


async def get_bucket_location(call: Call) -> Response:
    """S3 GetBucketLocation."""
    await _inspect(call)
    return _xml(render_location(REGION))


async def get_bucket_versioning(call: Call) -> Response:
    """S3 GetBucketVersioning: every commit stays, so it is always enabled."""
    await _inspect(call)
    return _xml(render_versioning("Enabled"))


async def _inspect(call: Call) -> None:
    ref = call.ref()
    if ref.commit is None:
        await inspect_target(call.pfs, ref)
    else:
        await call.pfs.inspect_commit(ref.repo, await commit_to_read(call, ref))


async def delete_bucket(call: Call) -> Response:
    """S3 DeleteBucket: removes the branch with the uploads to it, and the repo with its last branch.

    Directories without files do not count. Raises BucketNotEmpty, NoSuchBucket, AccessDenied.
    """
    ref = writable_ref(call)
    turns = call.shared.turns
    await turns.run(ref.repo, lambda: turns.run((ref.repo, ref.branch), lambda: _delete(call, ref)))
    return Response(status=204)


async def _delete(call: Call, ref: BucketRef) -> None:
    await call.pfs.inspect_branch(ref.repo, ref.branch)
    try:
        root = await call.pfs.inspect_file(ref.repo, ref.branch, "/")
        empty = not await has_files(call.pfs, ref.repo, ref.branch, root)
    except (NoHead, PathNotFound):
        empty = True
    if not empty:
        raise S3Error(
            "BucketNotEmpty", "The bucket you tried to delete is not empty.", BucketName=call.bucket
        )
    branches = await call.pfs.list_branch(ref.repo)
    if any(branch.name != ref.branch and not is_reserved(branch.name) for branch in branches):
        await forget_uploads(call, ref, branches)
        await call.pfs.delete_branch(ref.repo, ref.branch)
        return
    # Asked before anything is done: whoever may only write could delete the branch, but not the repo.
    if not await call.pfs.authorize(ref.repo, Scope.OWNER):
        raise S3Error("AccessDenied", "Access Denied.")
    await call.pfs.delete_repo(ref.repo)
