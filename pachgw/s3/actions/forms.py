"""PostObject: a form of a web page that uploads a file. From its fields on it is a PutObject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from pachgw.messages import RequestHead, Response
from pachgw.s3.actions.writes import put_object
from pachgw.s3.auth import missing_field
from pachgw.s3.context import Call
from pachgw.s3.metadata.tagset import parse_tagging
from pachgw.s3.request.action import Action
from pachgw.s3.request.domains import object_url
from pachgw.s3.request.form import malformed_form
from pachgw.s3.request.operation import refuse_unsupported_headers
from pachgw.s3.request.policy import parse_policy
from pachgw.s3.xml.render import document, element

_HEADERS = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-md5",
        "content-type",
        "expires",
    }
)
"""Fields that are headers of PutObject; those that begin with x-amz- are too."""
_SIGNING = frozenset(
    {
        "x-amz-algorithm",
        "x-amz-content-sha256",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-decoded-content-length",
        "x-amz-security-token",
        "x-amz-signature",
        "x-amz-trailer",
    }
)
"""Headers that speak of the request and not of the object."""


async def post_object(call: Call) -> Response:
    """S3 POST Object: the file of the form replaces the key's, in one commit, or nothing changes.

    Raises AccessDenied and InvalidPolicyDocument for the policy, InvalidArgument, EntityTooLarge,
    EntityTooSmall, MalformedPOSTRequest, and what put_object does.
    """
    form = call.form
    if form is None:
        raise malformed_form()
    fields = form.fields
    if "policy" in fields:
        policy = parse_policy(fields["policy"])
        policy.check(fields, call.shared.clock())
        if policy.length_range is not None:
            form.file.bound(*policy.length_range)
    key = fields.get("key")
    if not key:
        raise missing_field("key")
    head = _head_of_put(call.head, fields)
    refuse_unsupported_headers(head.header, Action.PUT_OBJECT)
    target = replace(call.target, key=key)
    stored = await put_object(replace(call, head=head, target=target, body=form.file))
    return _success(call, fields, key, stored)


def _head_of_put(head: RequestHead, fields: Mapping[str, str]) -> RequestHead:
    """The head of a PutObject that says the same as the fields."""
    said = {
        name: value
        for name, value in fields.items()
        if name in _HEADERS or (name.startswith("x-amz-") and name not in _SIGNING)
    }
    if "acl" in fields:
        said["x-amz-acl"] = fields["acl"]
    if "tagging" in fields:
        said["x-amz-tagging"] = urlencode(parse_tagging(fields["tagging"].encode()))
    # How long the file is nobody knows before its end.
    said["transfer-encoding"] = "chunked"
    return replace(
        head,
        method="PUT",
        headers=tuple((name.encode(), value.strip().encode()) for name, value in said.items()),
    )


def _success(call: Call, fields: Mapping[str, str], key: str, stored: Response) -> Response:
    etag = dict(stored.headers)["ETag"]
    redirect = fields.get("success_action_redirect") or fields.get("redirect")
    if redirect and (url := _redirect_url(redirect, bucket=call.bucket, key=key, etag=etag)):
        return Response(status=303, headers=(("Location", url), *stored.headers))
    location = object_url(call.head, call.target, key)
    headers = (("Location", location), *stored.headers)
    match fields.get("success_action_status"):
        case "201":
            content = (
                element("Location", location)
                + element("Bucket", call.bucket)
                + element("Key", key)
                + element("ETag", etag)
            )
            return Response(
                status=201,
                headers=(("Content-Type", "application/xml"), *headers),
                body=document("PostResponse", content),
            )
        case "200":
            return Response(status=200, headers=headers)
        case _:
            return Response(status=204, headers=headers)


def _redirect_url(redirect: str, *, bucket: str, key: str, etag: str) -> str | None:
    """Where the browser is sent, told what was stored; None for what is no URL of a web page."""
    try:
        parts = urlsplit(redirect)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return None
    stored = urlencode({"bucket": bucket, "key": key, "etag": etag}, quote_via=quote)
    query = f"{parts.query}&{stored}" if parts.query else stored
    url = urlunsplit((parts.scheme, parts.netloc, parts.path, query, parts.fragment))
    # Whatever else it has must not end the header.
    return quote(url, safe="!#$%&'()*+,/:;=?@[]~")
