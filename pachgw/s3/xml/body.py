"""Request bodies in XML: DeleteObjects and CreateBucket. Pure; what is asked for is done elsewhere.

A document type, an entity and an external reference are refused before anything is expanded (defusedxml).
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError

from defusedxml.ElementTree import fromstring

from pachgw.s3.errors import S3Error

MAX_DELETE_OBJECTS = 1000

_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectToDelete:
    """One object of a DeleteObjects request."""

    key: str
    version_id: str | None
    etag: str | None = None
    """It is deleted only if it has this ETag; `*`: if it is there."""


def parse_delete(body: bytes) -> tuple[bool, list[ObjectToDelete]]:
    """Whether the answer is to be quiet, and the objects in their order, 1 to 1,000.

    Raises MalformedXML, also for an object without a key or with an empty one: in PFS that would be the root.
    Raises NotImplemented for conditions that only directory buckets know (LastModifiedTime, Size).
    """
    quiet: bool | None = None
    objects: list[ObjectToDelete] = []
    for child in parse_root(body, "Delete"):
        match tag_name(child):
            case "Object" if len(objects) < MAX_DELETE_OBJECTS:
                objects.append(_object(child))
            case "Quiet" if quiet is None:
                quiet = _boolean(child)
            case _:
                raise malformed_xml()
    if not objects:
        raise malformed_xml()
    return bool(quiet), objects


def _object(element: Element) -> ObjectToDelete:
    values: dict[str, str] = {}
    for child in element:
        name = tag_name(child)
        if name in ("LastModifiedTime", "Size"):
            # Deleting without having looked at them would be worse.
            raise S3Error("NotImplemented", "Conditions on objects to delete are not implemented.")
        if name not in ("Key", "VersionId", "ETag") or name in values:
            raise malformed_xml()
        values[name] = parse_text(child)
    if not values.get("Key"):
        raise malformed_xml()
    return ObjectToDelete(key=values["Key"], version_id=values.get("VersionId"), etag=values.get("ETag"))


def parse_create_bucket(body: bytes) -> str | None:
    """The region that CreateBucket asks for; None for an empty body or none named.

    Raises MalformedXML; NotImplemented for what else a bucket may be made with (tags, directory buckets).
    """
    if not body:
        return None
    region: str | None = None
    for child in parse_root(body, "CreateBucketConfiguration"):
        match tag_name(child):
            case "LocationConstraint" if region is None:
                region = parse_text(child).strip()
            case "Location" | "Bucket" | "Tags":
                raise S3Error("NotImplemented", "The configuration of the bucket is not implemented.")
            case _:
                raise malformed_xml()
    return region or None


def parse_versioning(body: bytes) -> str:
    """The status that PutBucketVersioning asks for: Enabled or Suspended.

    Raises MalformedXML, IllegalVersioningConfigurationException for any other or none; NotImplemented for
    MFA delete.
    """
    status: str | None = None
    for child in parse_root(body, "VersioningConfiguration"):
        match tag_name(child), parse_text(child).strip():
            case "Status", text if status is None:
                status = text
            case "MfaDelete", "Disabled":
                pass
            case "MfaDelete", "Enabled":
                raise S3Error("NotImplemented", "MFA delete is not implemented.")
            case _:
                raise malformed_xml()
    if status not in ("Enabled", "Suspended"):
        raise S3Error(
            "IllegalVersioningConfigurationException",
            "The versioning configuration specified in the request is invalid.",
        )
    return status


def malformed_xml() -> S3Error:
    """The error for a body that is no XML, or not what the action takes."""
    return S3Error(
        "MalformedXML",
        "The XML you provided was not well-formed or would not validate against S3's published schema.",
    )


def parse_root(body: bytes, name: str) -> Element:
    """The document's root element; its children bear the same namespace as it, or none."""
    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, ValueError, LookupError):
        # ValueError is also what defusedxml raises; LookupError comes from an unknown encoding.
        raise malformed_xml() from None
    if tag_name(root) != name:
        raise malformed_xml()
    return root


def tag_name(element: Element) -> str:
    """The element's name without S3's namespace."""
    return element.tag.removeprefix(_NAMESPACE)


def parse_text(element: Element) -> str:
    """The element's text; raises MalformedXML where it has elements in it."""
    if len(element):
        raise malformed_xml()
    return element.text or ""


def _boolean(element: Element) -> bool:
    match parse_text(element).strip().lower():
        case "true" | "1":
            return True
        case "false" | "0":
            return False
    raise malformed_xml()
