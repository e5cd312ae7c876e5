"""The step between a request's action and its function where the gateway is a sidecar.

Which buckets there are, and what each is for, is in s3/sidecar.py; what is done with them the actions do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.logger import Logger

from pachgw.messages import Response
from pachgw.pfs.port import NotAuthenticated
from pachgw.s3.actions.buckets import REGION
from pachgw.s3.context import Call
from pachgw.s3.errors import S3Error
from pachgw.s3.listing.buckets import page_of, parse_bucket_params
from pachgw.s3.listing.pages import ListParams, Page, parse_list_params
from pachgw.s3.request.action import Action
from pachgw.s3.request.copysource import CopySource, parse_copy_source
from pachgw.s3.sidecar import Answer, Sidecar, without_versions
from pachgw.s3.xml.render import (
    render_buckets,
    render_list_objects,
    render_list_objects_v2,
    render_versioning,
)

Perform = Callable[[Action, Call], Awaitable[Response]]

_XML = (("Content-Type", "application/xml"),)
_LISTS = {Action.LIST_OBJECTS: 1, Action.LIST_OBJECTS_V2: 2}

_log = Logger()


async def perform(sidecar: Sidecar, perform_action: Perform, action: Action, call: Call) -> Response:
    """The answer to the action, done by `perform_action` where the bucket is for it.

    Raises what Sidecar.judge does, AccessDenied where PFS does not take the gateway's own token, and what the
    action does.
    """
    try:
        match sidecar.judge(action, call.target, _source(call)):
            case Answer.BUCKETS:
                return await _list_buckets(sidecar, call)
            case Answer.NO_VERSIONS:
                return Response(status=200, headers=_XML, body=render_versioning(None))
            case Answer.EMPTY_LIST:
                return _empty_list(action, call)
        _check_pinned(action, call)
        return without_versions(await perform_action(action, call))
    except NotAuthenticated as error:
        # The client has sent no token of its own that could be wrong.
        _log.warn("PFS does not take the sidecar's own token: {error}", error=error)
        raise S3Error("AccessDenied", "PFS does not take the gateway's own token.") from None


def _source(call: Call) -> CopySource | None:
    text = call.head.header("x-amz-copy-source")
    return None if text is None else parse_copy_source(text)


async def _list_buckets(sidecar: Sidecar, call: Call) -> Response:
    params = parse_bucket_params(call.target.query)
    buckets = sidecar.listed(await call.pfs.list_repo())
    return Response(status=200, headers=_XML, body=render_buckets(page_of(buckets, params, region=REGION)))


def _params(action: Action, call: Call) -> ListParams:
    return parse_list_params(call.target.query, version=_LISTS[action])


def _empty_list(action: Action, call: Call) -> Response:
    params = _params(action, call)
    render = render_list_objects if params.version == 1 else render_list_objects_v2
    return Response(status=200, headers=_XML, body=render(call.bucket, params, Page()))


def _check_pinned(action: Action, call: Call) -> None:
    """A list's token may name the commit to go on in: of an input only its own. Raises InvalidArgument."""
    if action not in _LISTS:
        return
    params, commit = _params(action, call), call.ref().commit
    if commit is not None and params.token is not None and params.token.commit not in (None, commit):
        raise S3Error(
            "InvalidArgument",
            "The continuation token provided is incorrect",
            ArgumentName="continuation-token",
            ArgumentValue=params.raw_token or "",
        )
