"""pyarrow's own S3, on Parquet. Arguments: the endpoint, two buckets, a directory."""

import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

MIB = 1024 * 1024
url, bucket, other, _ = sys.argv[1:]
scheme, _, host = url.partition("://")
s3 = fs.S3FileSystem(
    access_key="any",
    secret_key="any",
    endpoint_override=host,
    scheme=scheme,
    region="us-east-1",
    allow_bucket_creation=True,
    allow_bucket_deletion=True,
)
table = pa.table(
    {"n": range(200_000), "part": [f"p{n % 3}" for n in range(200_000)], "x": [n / 7 for n in range(200_000)]}
)

ds.write_dataset(
    table, f"{bucket}/set", filesystem=s3, format="parquet", partitioning=ds.partitioning(
        pa.schema([("part", pa.string())]), flavor="hive"
    ),
)  # fmt: skip
read = ds.dataset(f"{bucket}/set", filesystem=s3, partitioning="hive").to_table(
    filter=(pc.field("part") == "p1") & (pc.field("n") < 10), columns=["n", "x"]
)
assert sorted(read["n"].to_pylist()) == [1, 4, 7]
assert ds.dataset(f"{bucket}/set", filesystem=s3, partitioning="hive").count_rows() == table.num_rows
pq.write_table(table, f"{bucket}/one.parquet", filesystem=s3)
assert pq.read_table(f"{bucket}/one.parquet", filesystem=s3).equals(table)

body = bytes(range(256)) * 4096 * 12
words = {"Content-Type": "text/x-a"}
with s3.open_output_stream(f"{bucket}/d/big", metadata=words) as out:
    for start in range(0, len(body), MIB):
        out.write(body[start : start + MIB])
with s3.open_input_file(f"{bucket}/d/big") as file:
    assert file.size() == len(body)
    assert file.read_at(MIB, 5) == body[5 : 5 + MIB]
    said = file.metadata()
assert said["Content-Type"] == b"text/x-a", said
s3.copy_file(f"{bucket}/d/big", f"{other}/copy")
s3.move(f"{other}/copy", f"{other}/d/moved")
assert s3.get_file_info(f"{other}/copy").type == fs.FileType.NotFound
assert s3.get_file_info(f"{other}/d/moved").size == len(body)
assert s3.get_file_info(f"{other}/d").type == fs.FileType.Directory
s3.create_dir(f"{other}/made/of/nothing")
assert s3.get_file_info(f"{other}/made/of/nothing").type == fs.FileType.Directory
found = s3.get_file_info(fs.FileSelector(f"{bucket}/set", recursive=True))
assert sum(info.type == fs.FileType.File for info in found) == 3
assert sum(info.type == fs.FileType.Directory for info in found) == 3
s3.delete_file(f"{bucket}/one.parquet")
s3.delete_dir_contents(f"{bucket}/set")
assert s3.get_file_info(fs.FileSelector(f"{bucket}/set", recursive=True)) == []
s3.delete_dir(f"{other}/d")
s3.delete_dir(f"{other}/made")
assert s3.get_file_info(fs.FileSelector(other)) == []
s3.create_dir(f"{bucket}-arrow")
s3.delete_dir(f"{bucket}-arrow")
