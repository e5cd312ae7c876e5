"""Requests that a web page of another site has a visitor's browser send, which proves nothing about the page.

Forms, images and scripts of any page go anywhere without a preflight, also to a gateway of the visitor's own
machine; and a page whose host's name is made to stand for the gateway's address (DNS rebinding) is of the
same origin to the browser. Judged by what browsers send and pages cannot change. Pure. Source: the Fetch
standard, W3C "Fetch Metadata Request Headers". Rules that allow something are cors.py's.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from pachgw.messages import RequestHead
from pachgw.s3.cors import Cors
from pachgw.s3.errors import S3Error
from pachgw.s3.request.domains import Domains, host_name
from pachgw.s3.request.target import Target

READS = {"GET", "HEAD"}
_SAME = {"none", "same-origin"}
"""Sec-Fetch-Site: typed by the visitor, and of the gateway's own origin."""

# A page can give some of these another value, and leave none of them out. Referer is one of them too.
_OF_BROWSERS = frozenset(
    {b"origin", b"accept-language", b"sec-fetch-site", b"sec-fetch-mode", b"sec-ch-ua", b"cookie"}
)
_OF_HADOOP = "https://audit.example.org/hadoop/"
"""How Referer begins in each request of Hadoop's s3a, which puts there what it does for whom, for the log.

Source: Hadoop's HttpReferrerAuditHeader. No page is there (RFC 2606), and none can name another than its own.
"""


def foreign_page(head: RequestHead, target: Target, cors: Cors, domains: Domains) -> S3Error | None:
    """The refusal of a request that proves nothing about who sends it; None where it may be served.

    None as well where a rule allows the page's origin the method: then the operator trusts the page.
    """
    if _referer(head) is None and not head.has_any(_OF_BROWSERS):
        return None
    signed_by_script = head.header("authorization") is not None
    # Of another origin this header takes a preflight, which only rules let pass.
    page = None if signed_by_script else _page(head)
    if page is not None and not cors.allows(page, head.method, target):
        return S3Error(
            "AccessForbidden",
            "CORSResponse: A web page's request that nobody known has signed needs a rule that allows its"
            " origin.",
            Method=head.method,
            ResourceType="BUCKET" if target.key is None else "OBJECT",
        )
    host = head.header("host") or ""
    # By TLS a name that is not the gateway's has no certificate.
    if not (head.secure or _is_own(host, domains) or cors.allows(f"http://{host}", head.method, target)):
        return S3Error(
            "AccessForbidden",
            "A browser's request that nobody known has signed needs an address, localhost, or a host that the"
            " gateway was told of (--domain).",
        )
    return None


def _page(head: RequestHead) -> str | None:
    """The origin of the page of another site that sends the request, "null" where it is not told.

    None for what no page of another site can gain by: what it cannot read, unless something is changed.
    """
    site = (head.header("sec-fetch-site") or "").strip().lower()
    # Images have no Origin, and older browsers' forms neither.
    origin = head.header("origin") or _origin_of(_referer(head))
    if head.method in READS:
        # With `cors` the browser keeps the answer from the page, and `navigate` shows it to the visitor. But
        # images and scripts run and are measured.
        embeds = (head.header("sec-fetch-mode") or "").strip().lower() == "no-cors"
        return origin or "null" if embeds and site not in _SAME | {""} else None
    if origin:
        # Also of what the gateway itself has: a page among its objects is not its own.
        return origin
    return None if site in _SAME | {""} else "null"


def _referer(head: RequestHead) -> str | None:
    """The page that the request comes from, as a browser says it."""
    referer = head.header("referer")
    return None if referer is None or referer.startswith(_OF_HADOOP) else referer


def _origin_of(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return "null"
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else "null"


def _is_own(host: str, domains: Domains) -> bool:
    """Whether no stranger can make the name stand for this gateway: addresses, localhost, our domains."""
    name = host_name(host)
    if not name or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return domains.has(name)
    return True
