"""Where our answers about uploads in parts are meant to differ from the recorded ones, and why."""

from __future__ import annotations

from s3_differences import REDIRECTS, SPECIAL_KEYS, Ours, called, refused, served

ONE_REPO = "fault: parts lie in a repo of their own, with the rights of its first user; it is a bucket, too"
PART_NUMBERS = "fault: a part without a number, and part 0, are taken"
PART_ORDER = "S3's code for a part that is listed twice, and for a list without parts"
PART_ETAGS = "fault: the ETags of the parts are not looked at"
PART_LISTS = "fault: parts come in the order of texts, and a page of more than 1,000 is refused"
PART_COPIES = "fault: UploadPartCopy stores an empty part"
UPLOAD_IDS = "fault: an upload that there is not has no parts, or is an internal error"
UPLOAD_LISTS = "fault: keys with a slash, prefix and delimiter are left out of lists of uploads"
NO_BUCKET = "fault: a bucket that there is not has no uploads"
REPEATED = "S3 answers a repeated complete as the first"
EARLY_CONFLICT = "a key that PFS cannot have beside another is refused before its parts are sent"
RECORDS = "commits of the metadata branch, on which the sizes of the parts are kept"
NO_TEXT = "the recording has no bytes that are no text"


def _entries(reason: str, **elements: tuple[str, ...]) -> Ours:
    return Ours(status=200, reason=reason, elements=elements)


MULTIPART: dict[str, dict[int, Ours]] = {
    "multipart": {
        7: Ours(status=206, reason=NO_TEXT, headers={"content-range": "bytes 5242878-5242882/5242883"}),
        10: refused(404, "NoSuchUpload", UPLOAD_IDS),
        12: served(REPEATED),
        13: called(RECORDS, commits=3),
        14: Ours(status=200, reason=ONE_REPO, elements={"Name": ("master.$REPO",)}),
    },
    "multipart-errors": {
        **dict.fromkeys((2, 7), refused(400, "InvalidArgument", PART_NUMBERS)),
        8: refused(501, "NotImplemented", PART_NUMBERS),
        14: refused(400, "InvalidPartOrder", PART_ORDER),
        16: refused(400, "MalformedXML", PART_ORDER),
        20: refused(400, "InvalidPart", PART_ETAGS),
        21: refused(404, "NoSuchKey", PART_ETAGS),
    },
    "multipart-wrong-etag": {
        **dict.fromkeys((3, 6, 9, 12, 15), refused(400, "InvalidPart", PART_ETAGS)),
    },
    "multipart-bad-id": {
        **dict.fromkeys((1, 2, 3, 9), refused(404, "NoSuchUpload", UPLOAD_IDS)),
    },
    "multipart-abort": {
        6: refused(404, "NoSuchUpload", UPLOAD_IDS),
    },
    "multipart-list-uploads": {
        **dict.fromkeys((4, 7), _entries(UPLOAD_LISTS, Key=("a", "d/b", "z"))),
        9: _entries(UPLOAD_LISTS, Key=("d/b",)),
        10: _entries(UPLOAD_LISTS, Key=("d/b", "z")),
        12: _entries(UPLOAD_LISTS, Key=("a", "z"), Prefix=("", "d/")),
        15: refused(404, "NoSuchBucket", NO_BUCKET),
    },
    "multipart-list-parts": {
        **dict.fromkeys((5, 8), _entries(PART_LISTS, PartNumber=("1", "2", "10"))),
        10: _entries(PART_LISTS, PartNumber=("2", "10")),
        11: _entries(PART_LISTS, PartNumber=()),
    },
    "multipart-keys": {
        **dict.fromkeys((2, 3), served(SPECIAL_KEYS)),
        **dict.fromkeys((4, 5), served(REDIRECTS)),
    },
    "multipart-part-copy": {
        **dict.fromkeys((3, 4), served(PART_COPIES)),
    },
    "multipart-over-existing": {
        6: refused(400, "InvalidFilePath", EARLY_CONFLICT),
        **dict.fromkeys((7, 8), refused(404, "NoSuchUpload", EARLY_CONFLICT)),
    },
}

AUTH_MULTIPART: dict[str, dict[int, Ours]] = {
    "multipart-first-user-owns": {
        **dict.fromkeys((11, 14, 20, 31, 35), served(ONE_REPO)),
        **dict.fromkeys((12, 13, 15, 18, 19, 21), refused(404, "NoSuchUpload", ONE_REPO)),
        28: refused(403, "AccessDenied", ONE_REPO),
    },
    "multipart-first-by-others": {
        **dict.fromkeys((5, 6, 9, 10, 12), refused(403, "AccessDenied", ONE_REPO)),
        13: served(ONE_REPO),
        14: refused(404, "NoSuchUpload", ONE_REPO),
    },
    "multipart-first-list": {
        5: refused(403, "AccessDenied", ONE_REPO),
        **dict.fromkeys((8, 9), served(ONE_REPO)),
        10: refused(404, "NoSuchUpload", ONE_REPO),
    },
    "multipart-grant-reader": {
        **dict.fromkeys((8, 12, 17), served(ONE_REPO)),
        11: refused(404, "NoSuchUpload", ONE_REPO),
        16: Ours(status=204, reason=ONE_REPO),
    },
    "multipart-grant-no-bucket": {
        **dict.fromkeys((8, 14, 15, 16, 19), refused(403, "AccessDenied", ONE_REPO)),
        **dict.fromkeys((9, 11, 13), refused(404, "NoSuchUpload", ONE_REPO)),
        10: served(ONE_REPO),
    },
    "multipart-by-admin": {
        9: served(ONE_REPO),
        10: refused(404, "NoSuchUpload", ONE_REPO),
    },
    "multipart-read-others-parts": {
        **dict.fromkeys((8, 9), refused(404, "NoSuchBucket", ONE_REPO)),
        10: refused(403, "AccessDenied", ONE_REPO),
    },
}
