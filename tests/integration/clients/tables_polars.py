"""Polars on Parquet. Arguments: the endpoint, two buckets, a directory."""

import sys

import polars as pl

url, bucket, other, _ = sys.argv[1:]
options = {
    "aws_endpoint_url": url,
    "aws_access_key_id": "any",
    "aws_secret_access_key": "any",
    "aws_region": "us-east-1",
    "aws_allow_http": "true",
    "aws_virtual_hosted_style_request": "false",
}
frame = pl.DataFrame(
    {
        "n": range(400_000),
        "part": [f"p{n % 3}" for n in range(400_000)],
        "x": [hash(str(n)) for n in range(400_000)],
    }
)
frame.write_parquet(f"s3://{bucket}/one.parquet", storage_options=options, row_group_size=50_000)
assert pl.read_parquet(f"s3://{bucket}/one.parquet", storage_options=options).equals(frame)
lazy = pl.scan_parquet(f"s3://{bucket}/one.parquet", storage_options=options)
found = lazy.filter(pl.col("n").is_between(10, 12)).select("n").collect()
assert found["n"].to_list() == [10, 11, 12]
lazy.filter(pl.col("part") == "p1").sink_parquet(f"s3://{bucket}/set/p1.parquet", storage_options=options)
lazy.filter(pl.col("part") == "p2").sink_parquet(f"s3://{bucket}/set/p2.parquet", storage_options=options)
rows = (
    pl.scan_parquet(f"s3://{bucket}/set/*.parquet", storage_options=options).select(pl.len()).collect().item()
)
assert rows == frame.filter(pl.col("part") != "p0").height
frame.head(10).write_csv(f"s3://{other}/a b/ten.csv", storage_options=options)
assert pl.scan_csv(f"s3://{other}/a b/ten.csv", storage_options=options).collect().height == 10
