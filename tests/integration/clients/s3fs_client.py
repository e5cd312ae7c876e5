"""s3fs, the file system of pandas and dask. Arguments: the endpoint, two buckets, a directory of files."""

import asyncio
import hashlib
import sys
import urllib.request
from pathlib import Path

import s3fs

MIB = 1024 * 1024
url, bucket, other, directory = sys.argv[1:]
settings = {
    "key": "any",
    "secret": "any",
    "endpoint_url": url,
    "client_kwargs": {"region_name": "us-east-1"},
    "skip_instance_cache": True,
    "use_listings_cache": False,
}
fs = s3fs.S3FileSystem(**settings)
paths = (path for path in Path(directory).rglob("*") if path.is_file())
local = {path.relative_to(directory).as_posix(): path for path in paths}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


fs.put(f"{directory}/", f"{bucket}/in/", recursive=True)
assert sorted(fs.find(f"{bucket}/in")) == sorted(f"{bucket}/in/{key}" for key in local)
for key, path in local.items():
    assert fs.cat_file(f"{bucket}/in/{key}") == path.read_bytes(), key
    assert fs.size(f"{bucket}/in/{key}") == path.stat().st_size
fs.get(f"{bucket}/in/sizes/", f"{directory}-s3fs/", recursive=True)
assert sorted(path.name for path in Path(f"{directory}-s3fs").iterdir()) == sorted(
    path.name for path in local.values() if path.parent.name == "sizes"
)

# A file that is written in parts, read by blocks and by ranges; appended to; copied in parts.
body = bytes(range(256)) * 4096 * 17
with fs.open(
    f"{bucket}/big", "wb", block_size=5 * MIB, ContentType="text/x-a", Metadata={"who": "me"}
) as file:
    file.write(body)
with fs.open(f"{bucket}/big", "rb", block_size=MIB) as file:
    file.seek(-10, 2)
    assert file.read() == body[-10:]
    file.seek(5)
    assert file.read(3 * MIB) == body[5 : 5 + 3 * MIB]
assert fs.cat_ranges([f"{bucket}/big"] * 2, [0, 7 * MIB], [4, 7 * MIB + 4]) == [body[:4], body[7 * MIB :][:4]]
with fs.open(f"{bucket}/big", "ab", block_size=5 * MIB) as file:
    file.write(b"more")
assert digest(fs.cat(f"{bucket}/big")) == digest(body + b"more")
fs.copy(f"{bucket}/big", f"{other}/copy")
assert digest(fs.cat(f"{other}/copy")) == digest(body + b"more")

with fs.open(f"{bucket}/small", "wb", ContentType="text/x-a", Metadata={"who": "me"}) as file:
    file.write(b"small")
assert fs.metadata(f"{bucket}/small") == {"who": "me"}
assert fs.info(f"{bucket}/small")["ContentType"] == "text/x-a"
fs.setxattr(f"{bucket}/small", n="1")
assert fs.getxattr(f"{bucket}/small", "n") == "1"
fs.put_tags(f"{bucket}/small", {"kind": "a"})
assert fs.get_tags(f"{bucket}/small") == {"kind": "a"}
with urllib.request.urlopen(fs.url(f"{bucket}/small", expires=60)) as answer:
    assert answer.read() == b"small"
fs.mv(f"{bucket}/small", f"{other}/d/small")
assert not fs.exists(f"{bucket}/small")
assert fs.ls(other, detail=False) == [f"{other}/copy", f"{other}/d"]
assert fs.isdir(f"{other}/d")
assert fs.glob(f"{other}/*/sm*") == [f"{other}/d/small"]
assert fs.du(f"{other}/d") == 5
fs.touch(f"{other}/empty")
fs.pipe({f"{other}/a": b"1", f"{other}/b": b"2"})
try:
    fs.pipe_file(f"{other}/a", b"again", mode="create")
except FileExistsError:
    pass
else:
    raise AssertionError("a file was overwritten")
assert fs.cat([f"{other}/a", f"{other}/b"]) == {f"{other}/a": b"1", f"{other}/b": b"2"}
assert fs.checksum(f"{other}/a") != fs.checksum(f"{other}/b")

aware = s3fs.S3FileSystem(**settings, version_aware=True)
fs.pipe(f"{other}/a", b"3")
versions = [item["VersionId"] for item in aware.object_version_info(f"{other}/a")]
assert [aware.cat_file(f"{other}/a?versionId={version}") for version in versions] == [b"3", b"1"]
fs.rm([f"{other}/a", f"{other}/b", f"{other}/empty"])
fs.rm(f"{other}/d", recursive=True)
assert fs.ls(other, detail=False) == [f"{other}/copy"]
fs.mkdir(f"{bucket}-s3fs")
assert fs.exists(f"{bucket}-s3fs")
fs.rmdir(f"{bucket}-s3fs")
asyncio.set_event_loop(None)
