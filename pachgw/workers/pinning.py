"""What the buckets of a sidecar stand for, looked up once before anything is served, for all workers.

What may be done with them is in s3/sidecar.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.logger import Logger

from pachgw.config import Cluster, Config, SidecarBucket
from pachgw.pfs.client import GrpcPFS
from pachgw.pfs.port import PFS, CommitInfo, NotFound, PFSError
from pachgw.s3.names import looks_like_commit

_log = Logger()


class PinError(Exception):
    """An input's branch that cannot be looked up; the text is one line."""


async def pin(config: Config, address: str, *, reactor: Any) -> Config:
    """The configuration with a commit's id for each input that is a branch; logs what the buckets are.

    What is already a commit's id stays as it is: one that is not there yet may be there when it is asked for.
    Raises PinError.
    """
    backend = config.backend
    token = certificates = None
    if isinstance(backend, Cluster):
        token = backend.token
        certificates = None if backend.ca_certificates is None else backend.ca_certificates.encode()
    client = GrpcPFS(address, reactor=reactor, threads=1, ca_certificates=certificates)
    client.start()
    try:
        pfs = client.session(token)
        inputs = tuple([await _pin(pfs, bucket) for bucket in config.inputs])
        if config.output is not None:
            await _look_at_output(pfs, config.output, readable=config.output_readable)
    finally:
        await client.stop()
    return replace(config, inputs=inputs)


async def _pin(pfs: PFS, bucket: SidecarBucket) -> SidecarBucket:
    info: CommitInfo | None = None
    try:
        info = await pfs.inspect_commit(bucket.repo, bucket.commit)
    except PFSError as error:
        if not looks_like_commit(bucket.commit):
            raise PinError(f"--inputs {_said(bucket)}: {error}") from None
        _log.warn("--inputs {bucket}: {error}", bucket=_said(bucket), error=error)
        return bucket
    if info.finished is None:
        text = f"--inputs {_said(bucket)}: the commit {info.id} is open, and changes while it is read"
        if not looks_like_commit(bucket.commit):
            raise PinError(text)
        _log.warn("{text}", text=text)
    pinned = replace(bucket, commit=info.id)
    _log.info("input {bucket} is the commit {commit}", bucket=_said(bucket), commit=info.id)
    return pinned


async def _look_at_output(pfs: PFS, bucket: SidecarBucket, *, readable: bool) -> None:
    """Log what the output is; a wrong one is told now, and with each request."""
    try:
        if looks_like_commit(bucket.commit):
            info = await pfs.inspect_commit(bucket.repo, bucket.commit)
            if info.finished is not None:
                _log.warn(
                    "--output {bucket}: the commit is finished, and cannot be written", bucket=_said(bucket)
                )
        else:
            await pfs.inspect_branch(bucket.repo, bucket.commit)
    except PFSError as error:
        _log.warn("--output {bucket}: {error}", bucket=_said(bucket), error=error)
        return
    try:
        await pfs.inspect_file(bucket.repo, bucket.commit, "/")
    except NotFound:
        # Nothing is in it yet.
        pass
    except PFSError as error:
        if readable:
            _log.warn(
                "--output-readable: PFS shows nothing of {bucket}: {error}", bucket=_said(bucket), error=error
            )
    _log.info("output {bucket} is {how}", bucket=_said(bucket), how="readable" if readable else "write-only")


def _said(bucket: SidecarBucket) -> str:
    return f"{bucket.name}={bucket.repo}@{bucket.commit}"
