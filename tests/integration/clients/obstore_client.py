"""obstore, the object_store crate of Rust's data tools. Arguments: the endpoint, two buckets, a directory."""

import sys
import urllib.request
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, NotFoundError, PreconditionError
from obstore.store import S3Store

MIB = 1024 * 1024
url, bucket, other, directory = sys.argv[1:]
words = {
    "endpoint": url,
    "access_key_id": "any",
    "secret_access_key": "any",
    "region": "us-east-1",
    "virtual_hosted_style_request": False,
    "client_options": {"allow_http": True},
}
store = S3Store(bucket, **words)
paths = (path for path in Path(directory).rglob("*") if path.is_file())
local = {path.relative_to(directory).as_posix(): path for path in paths}

# The crate has characters of its own that it writes as %XX into the key; the same way back.
for key, path in local.items():
    obstore.put(store, key, path)
for key, path in local.items():
    assert bytes(obstore.get(store, key).bytes()) == path.read_bytes(), key
    assert obstore.head(store, key)["size"] == path.stat().st_size
assert sum(len(batch) for batch in obstore.list(store)) == len(local)
tops = {key.partition("/")[0] for key in local if "/" in key}
assert len(obstore.list_with_delimiter(store)["common_prefixes"]) == len(tops)

body = bytes(range(256)) * 4096 * 12
attributes = {"Content-Type": "text/x-a", "Cache-Control": "no-store", "who": "me"}
obstore.put(store, "d/parts", body, use_multipart=True, chunk_size=5 * MIB, attributes=attributes)
answer = obstore.get(store, "d/parts")
assert answer.attributes == attributes
assert bytes(answer.bytes()) == body
assert bytes(obstore.get_range(store, "d/parts", start=5, length=MIB)) == body[5 : 5 + MIB]
ranges = obstore.get_ranges(store, "d/parts", starts=[0, 7 * MIB], lengths=[4, 4])
assert [bytes(piece) for piece in ranges] == [body[:4], body[7 * MIB :][:4]]
with obstore.open_writer(store, "written", buffer_size=6 * MIB, attributes={"Content-Type": "x/y"}) as writer:
    writer.write(body)
reader = obstore.open_reader(store, "written")
reader.seek(MIB)
assert bytes(reader.read(10)) == body[MIB:][:10]

# Writes with conditions: of two that create one wins, and an update is of what was read.
obstore.put(store, "c", b"1", mode="create")
try:
    obstore.put(store, "c", b"2", mode="create")
except AlreadyExistsError:
    pass
else:
    raise AssertionError("created twice")
first = obstore.head(store, "c")
second = obstore.put(store, "c", b"2", mode={"e_tag": first["e_tag"]})
try:
    obstore.put(store, "c", b"3", mode={"e_tag": first["e_tag"]})
except PreconditionError:
    pass
else:
    raise AssertionError("updated what was not read")
assert bytes(obstore.get(store, "c").bytes()) == b"2"
assert bytes(obstore.get(store, "c", options={"version": first["version"]}).bytes()) == b"1"
try:
    obstore.get(store, "c", options={"if_none_match": second["e_tag"]})
except Exception as error:
    assert "NotModified" in type(error).__name__, error
else:
    raise AssertionError("got what had not changed")

obstore.copy(store, "d/parts", "copied")
assert obstore.get(store, "copied").attributes == attributes
obstore.rename(store, "copied", "e/moved")
try:
    obstore.head(store, "copied")
except (NotFoundError, FileNotFoundError):
    pass
else:
    raise AssertionError("renamed and still there")
put, get = (obstore.sign(store, way, "signed", timedelta(minutes=1)) for way in ("PUT", "GET"))
with urllib.request.urlopen(urllib.request.Request(put, b"signed", method="PUT")) as said:
    assert said.status == 200
with urllib.request.urlopen(get) as said:
    assert said.read() == b"signed"
listed = [item["path"] for batch in obstore.list(store) for item in batch]
obstore.delete(store, [path for path in listed if not path.startswith("d/")])
assert [item["path"] for batch in obstore.list(store) for item in batch] == ["d/parts"]
