"""DuckDB's httpfs, on Parquet. Arguments: the endpoint, two buckets, a directory."""

import sys
from pathlib import Path

import duckdb
import duckdb_extension_httpfs

url, bucket, other, _ = sys.argv[1:]
scheme, _, host = url.partition("://")
db = duckdb.connect()
(extension,) = Path(duckdb_extension_httpfs.__file__).parent.rglob("httpfs.duckdb_extension")
db.execute(f"LOAD '{extension}'")
db.execute(
    f"CREATE SECRET (TYPE s3, KEY_ID 'any', SECRET 'any', ENDPOINT '{host}', URL_STYLE 'path',"
    f" USE_SSL {str(scheme == 'https').lower()}, REGION 'us-east-1')"
)
# Rows that do not compress, so that the file is written in parts.
db.execute(
    "CREATE TABLE t AS SELECT i AS n, i % 3 AS part, md5(i::VARCHAR) || md5((i * 7)::VARCHAR) AS x"
    " FROM range(500000) r(i)"
)
total = db.execute("SELECT count(*), sum(n), min(x), max(x) FROM t").fetchone()
db.execute(f"COPY t TO 's3://{bucket}/one.parquet'")
said = db.execute(f"SELECT count(*), sum(n), min(x), max(x) FROM 's3://{bucket}/one.parquet'").fetchone()
assert said == total
db.execute(f"COPY t TO 's3://{bucket}/set' (FORMAT parquet, PARTITION_BY (part))")
said = db.execute(
    f"SELECT count(*) FROM read_parquet('s3://{bucket}/set/*/*.parquet', hive_partitioning = true)"
    " WHERE part = 1"
).fetchone()
assert said == db.execute("SELECT count(*) FROM t WHERE part = 1").fetchone()
db.execute(f"COPY (SELECT * FROM t LIMIT 10) TO 's3://{other}/a b/ten ü.csv' (HEADER)")
assert db.execute(f"SELECT count(*) FROM read_csv('s3://{other}/a b/*.csv')").fetchone() == (10,)
(name,) = db.execute(f"SELECT file FROM glob('s3://{other}/**')").fetchall()
assert name == (f"s3://{other}/a b/ten ü.csv",)
