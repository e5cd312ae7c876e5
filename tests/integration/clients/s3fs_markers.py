"""s3fs on a bucket with the directory marker `d/`: it sees, fills, moves out of and removes the directory."""

import sys

import s3fs

url, bucket = sys.argv[1:]
system = s3fs.S3FileSystem(
    key="any",
    secret="any",
    endpoint_url=url,
    client_kwargs={"region_name": "us-east-1"},
    use_listings_cache=False,
    skip_instance_cache=True,
)
assert system.isdir(f"{bucket}/d")
assert not system.isfile(f"{bucket}/d")
assert system.find(f"{bucket}/d") in ([], [f"{bucket}/d/"])
with system.open(f"{bucket}/d/k.txt", "wb", ContentType="x/y") as file:
    file.write(b"bytes")
system.touch(f"{bucket}/d/sub/")
assert system.cat(f"{bucket}/d/k.txt") == b"bytes"
assert f"{bucket}/d/k.txt" in system.find(f"{bucket}/d")
assert system.isdir(f"{bucket}/d") and system.isdir(f"{bucket}/d/sub") and system.isfile(f"{bucket}/d/k.txt")
system.mv(f"{bucket}/d/k.txt", f"{bucket}/e/k.txt")
assert not system.exists(f"{bucket}/d/k.txt")
assert system.isdir(f"{bucket}/d")
system.rm(f"{bucket}/d", recursive=True)
assert not system.exists(f"{bucket}/d")
