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


def parse_delete(body: bytes) -> tuple[bool, list[ObjectToDelete]]:
    """Whether the answer is to be quiet, and the objects in their order, 1 to 1,000.

    Raises MalformedXML, also for an object without a key or with an empty one: in PFS that would be the root.
    Raises NotImplemented for an object with conditions (ETag, LastModifiedTime, Size).
    """
    quiet: bool | None = None
    objects: list[ObjectToDelete] = []
    for child in _root(body, "Delete"):
        match _name(child):
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
        name = _name(child)
        if name in ("ETag", "LastModifiedTime", "Size"):
            # Deleting without having looked at them would be worse.
            raise S3Error("NotImplemented", "Conditions on objects to delete are not implemented.")
        if name not in ("Key", "VersionId") or name in values:
            raise malformed_xml()
        values[name] = _text(child)
    if not values.get("Key"):
        raise malformed_xml()
    return ObjectToDelete(key=values["Key"], version_id=values.get("VersionId"))


def parse_create_bucket(body: bytes) -> str | None:
    """The region that CreateBucket asks for; None for an empty body or none named.

    Raises MalformedXML; NotImplemented for what else a bucket may be made with (tags, directory buckets).
    """
    if not body:
        return None
    region: str | None = None
    for child in _root(body, "CreateBucketConfiguration"):
        match _name(child):
            case "LocationConstraint" if region is None:
                region = _text(child).strip()
            case "Location" | "Bucket" | "Tags":
                raise S3Error("NotImplemented", "The configuration of the bucket is not implemented.")
            case _:
                raise malformed_xml()
    return region or None


def malformed_xml() -> S3Error:
    """The error for a body that is no XML, or not what the action takes."""
    return S3Error(
        "MalformedXML",
        "The XML you provided was not well-formed or would not validate against S3's published schema.",
    )


def _root(body: bytes, name: str) -> Element:
    """The document's root element; its children bear the same namespace as it, or none."""
    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, ValueError, LookupError):
        # ValueError is also what defusedxml raises; LookupError comes from an unknown encoding.
        raise malformed_xml() from None
    if _name(root) != name:
        raise malformed_xml()
    return root


def _name(element: Element) -> str:
    return element.tag.removeprefix(_NAMESPACE)


def _text(element: Element) -> str:
    if len(element):
        raise malformed_xml()
    return element.text or ""


def _boolean(element: Element) -> bool:
    match _text(element).strip().lower():
        case "true" | "1":
            return True
        case "false" | "0":
            return False
    raise malformed_xml()
