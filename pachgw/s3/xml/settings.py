"""What is set for a bucket or an object, in XML: ACLs, CORS, ownership, payment, and what is not set.

Pure. What is answered to whom is decided in actions/answers.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element

from pachgw.s3.cors import CorsRule
from pachgw.s3.errors import S3Error
from pachgw.s3.xml.body import malformed_xml, parse_root, parse_text, tag_name
from pachgw.s3.xml.render import OWNER, OWNER_ID, OWNER_NAME, document, element

_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_TYPE = f"{{{_XSI}}}type"

PAYER = "BucketOwner"
OWNERSHIP = "BucketOwnerEnforced"


def render_acl() -> bytes:
    """The answer of GetBucketAcl and GetObjectAcl: the owner may do all, nobody else is named."""
    grantee = (
        f'<Grantee xmlns:xsi="{_XSI}" xsi:type="CanonicalUser">'
        f"{element('ID', OWNER_ID)}{element('DisplayName', OWNER_NAME)}</Grantee>"
    )
    grant = f"<Grant>{grantee}{element('Permission', 'FULL_CONTROL')}</Grant>"
    return document("AccessControlPolicy", f"{OWNER}<AccessControlList>{grant}</AccessControlList>")


def is_private_acl(body: bytes) -> bool:
    """Whether the ACL says what render_acl does. Raises MalformedACLError."""
    try:
        root = parse_root(body, "AccessControlPolicy")
        parts = _children(root, "Owner", "AccessControlList")
        owner = _ids(parts["Owner"]) if "Owner" in parts else OWNER_ID
        grants = [_grant(child) for child in parts["AccessControlList"]]
    except (S3Error, KeyError):
        raise S3Error(
            "MalformedACLError",
            "The XML you provided was not well-formed or did not validate against our published schema",
        ) from None
    return owner == OWNER_ID and grants == [(OWNER_ID, "FULL_CONTROL")]


def _grant(grant: Element) -> tuple[str, str]:
    """Whom the grant is for, "" for anybody but a canonical user, and what it gives."""
    if tag_name(grant) != "Grant":
        raise malformed_xml()
    parts = _children(grant, "Grantee", "Permission")
    permission = parse_text(parts["Permission"]).strip()
    grantee = parts["Grantee"]
    if grantee.get(_TYPE, "CanonicalUser") != "CanonicalUser":
        return "", permission
    return _ids(grantee), permission


def _ids(element_: Element) -> str:
    return parse_text(_children(element_, "ID", "DisplayName")["ID"]).strip()


def _children(parent: Element, *names: str) -> dict[str, Element]:
    """The children by name; raises MalformedXML for one that comes twice or is none of the names."""
    found: dict[str, Element] = {}
    for child in parent:
        name = tag_name(child)
        if name not in names or name in found:
            raise malformed_xml()
        found[name] = child
    return found


def render_cors(rules: Iterable[CorsRule]) -> bytes:
    """The answer of GetBucketCors."""
    return document("CORSConfiguration", "".join(_cors_rule(rule) for rule in rules))


def _cors_rule(rule: CorsRule) -> str:
    parts = [element("ID", rule.id)] if rule.id else []
    parts += [element("AllowedOrigin", origin) for origin in rule.allowed_origins]
    parts += [element("AllowedMethod", method) for method in rule.allowed_methods]
    parts += [element("AllowedHeader", header) for header in rule.allowed_headers]
    parts += [element("ExposeHeader", header) for header in rule.expose_headers]
    if rule.max_age_seconds is not None:
        parts.append(element("MaxAgeSeconds", str(rule.max_age_seconds)))
    return f"<CORSRule>{''.join(parts)}</CORSRule>"


def render_request_payment() -> bytes:
    """The answer of GetBucketRequestPayment."""
    return document("RequestPaymentConfiguration", element("Payer", PAYER))


def parse_request_payment(body: bytes) -> str:
    """Who is to pay. Raises MalformedXML."""
    root = parse_root(body, "RequestPaymentConfiguration")
    if [tag_name(child) for child in root] != ["Payer"]:
        raise malformed_xml()
    payer = parse_text(root[0]).strip()
    if payer not in ("BucketOwner", "Requester"):
        raise malformed_xml()
    return payer


def render_ownership() -> bytes:
    """The answer of GetBucketOwnershipControls."""
    return document("OwnershipControls", f"<Rule>{element('ObjectOwnership', OWNERSHIP)}</Rule>")


def parse_ownership(body: bytes) -> str:
    """The ownership that PutBucketOwnershipControls asks for. Raises MalformedXML."""
    root = parse_root(body, "OwnershipControls")
    if [tag_name(child) for child in root] != ["Rule"]:
        raise malformed_xml()
    rule = root[0]
    if [tag_name(child) for child in rule] != ["ObjectOwnership"]:
        raise malformed_xml()
    ownership = parse_text(rule[0]).strip()
    if ownership not in (OWNERSHIP, "BucketOwnerPreferred", "ObjectWriter"):
        raise malformed_xml()
    return ownership


def render_empty(root: str) -> bytes:
    """A document of which nothing is set."""
    return document(root, "")


def render_empty_list(root: str) -> bytes:
    """A list without entries, which has no further page."""
    return document(root, element("IsTruncated", "false"))
