"""Headers that a presigned URL carries in its query: read as the headers they are. Pure.

SDKs move what has to be said beside the signature there, so that whoever has the URL need not send it: v4
signs it with the query, v2 as the header that it was. Whether the signature is good is not decided here.
"""

from __future__ import annotations

from dataclasses import replace

from pachgw.messages import RequestHead
from pachgw.s3.errors import S3Error
from pachgw.s3.request.target import Query, Target

# Of the signature itself, or read by whoever judges it. In lower case.
_SIGNATURE = frozenset(
    {
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-signedheaders",
        "x-amz-signature",
        "x-amz-security-token",
        "x-amz-content-sha256",
        "x-amz-user-agent",
    }
)
_V2_ALSO = frozenset({"content-type", "content-md5"})
# What SDKs that add a checksum to all they send say of the body they do not have yet. AWS lets it pass.
_CHECKSUM = "x-amz-checksum-crc32"
_OF_NOTHING = "AAAAAA=="
_ITS_ALGORITHM = "x-amz-sdk-checksum-algorithm"


def unhoist(head: RequestHead, target: Target) -> tuple[RequestHead, Target]:
    """The request with its presigned headers among its headers; as it is where the query has no signature.

    For everything but the judgement of the signature, which is of the request as it came. Raises
    InvalidArgument for a value that no header can have, and where a header of that name says something else.
    """
    names = {name.lower() for name, _ in target.query}
    v2 = "signature" in names
    if not v2 and "x-amz-signature" not in names:
        return head, target
    placeholder = any(name.lower() == _CHECKSUM and value == _OF_NOTHING for name, value in target.query)
    more: list[tuple[bytes, bytes]] = []
    left: list[tuple[str, str]] = []
    for name, value in target.query:
        lower = name.lower()
        if not ((lower.startswith("x-amz-") and lower not in _SIGNATURE) or (v2 and lower in _V2_ALSO)):
            left.append((name, value))
            continue
        if placeholder and lower in (_CHECKSUM, _ITS_ALGORITHM):
            continue
        sent = head.header(lower) if lower.isascii() else None
        controls = any(character < " " or character == "\x7f" for character in value)
        if not lower.isascii() or controls or sent not in (None, value):
            raise S3Error(
                "InvalidArgument",
                "A header in the query has to be one, and the same as the one that is sent.",
                ArgumentName=name,
                ArgumentValue=value,
            )
        if sent is None:
            more.append((lower.encode(), value.encode("utf-8", "surrogatepass")))
    if not more and len(left) == len(target.query.pairs):
        return head, target
    return (
        replace(head, headers=head.headers + tuple(more)),
        replace(target, query=Query(tuple(left))),
    )
