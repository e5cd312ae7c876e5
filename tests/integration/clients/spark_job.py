"""What a Spark job does with a bucket; ends with `done`, or with an error.

Arguments: a file of settings, a line each; jars; `tables`, `files` or `sidecar`; then the job's paths.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

ROWS = 1000


def session(settings: Path, jars: Path) -> SparkSession:
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.shuffle.partitions", "2").config(
        "spark.driver.bindAddress", "127.0.0.1"
    )
    builder = builder.config("spark.driver.host", "127.0.0.1")
    builder = builder.config("spark.jars", ",".join(str(path) for path in sorted(jars.glob("*.jar"))))
    for line in settings.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            builder = builder.config(*line.split(maxsplit=1))
    return builder.getOrCreate()


def same(found: DataFrame, times: int = 1) -> None:
    """Whether it has all rows, so many times each."""
    ids = sorted(int(row[0]) for row in found.select("id").collect())
    assert ids == sorted(list(range(ROWS)) * times), (len(ids), times)


def tables(spark: SparkSession, root: str) -> None:
    rows = spark.range(0, ROWS, 1, 4).withColumn("part", F.col("id") % 3)
    rows.write.parquet(f"{root}/p")
    same(spark.read.parquet(f"{root}/p"))
    rows.write.mode("overwrite").parquet(f"{root}/p")
    rows.write.mode("append").parquet(f"{root}/p")
    same(spark.read.parquet(f"{root}/p"), 2)
    rows.write.option("header", True).csv(f"{root}/c")
    same(spark.read.option("header", True).csv(f"{root}/c"))
    # Directories whose names have to be escaped, by Spark and again by S3.
    named = rows.withColumn("k", F.concat(F.lit("ü b=c/%"), F.col("part")))
    named.write.partitionBy("k").parquet(f"{root}/odd dir")
    found = spark.read.parquet(f"{root}/odd dir")
    same(found)
    assert {row[0] for row in found.select("k").distinct().collect()} == {f"ü b=c/%{n}" for n in range(3)}
    # More than the 32 MB that s3a has in memory: it goes up in parts.
    large = spark.range(0, 5_000_000, 1, 1).withColumn("r", F.rand())
    large.write.parquet(f"{root}/large")
    assert spark.read.parquet(f"{root}/large").count() == 5_000_000
    left = [path for path in names(spark, root) if "_temporary" in path or "__magic" in path]
    assert not left, left


def replaced(spark: SparkSession, root: str) -> None:
    """Only the partitions that are written; not every committer can."""
    rows = spark.range(0, ROWS, 1, 4).withColumn("part", F.col("id") % 3)
    rows.write.partitionBy("part").parquet(f"{root}/d")
    some = rows.where("part = 1").write.mode("overwrite").option("partitionOverwriteMode", "dynamic")
    some.partitionBy("part").parquet(f"{root}/d")
    same(spark.read.parquet(f"{root}/d"))


def names(spark: SparkSession, root: str) -> list[str]:
    """The paths of all files below a directory."""
    system, path = _system(spark, root)
    found, pages = [], system.listFiles(path(root), True)
    while pages.hasNext():
        found.append(pages.next().getPath().toString().removeprefix(root))
    return sorted(found)


def _system(spark: SparkSession, root: str) -> tuple[object, Callable[[str], object]]:
    path = spark._jvm.org.apache.hadoop.fs.Path
    return path(root).getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()), path


def files(spark: SparkSession, root: str) -> None:
    """Hadoop's file system: directories by their markers, renames by copies."""
    system, path = _system(spark, root)

    def create(name: str, data: bytes) -> None:
        stream = system.create(path(f"{root}/{name}"), True)
        stream.write(bytearray(data))
        stream.close()

    assert system.mkdirs(path(f"{root}/a/b/c"))
    assert system.getFileStatus(path(f"{root}/a/b/c")).isDirectory()
    assert not system.exists(path(f"{root}/a/b/x"))
    create("a/b/c/f", b"hello")
    create("a/empty", b"")
    for number in range(5):
        create(f"a/many/{number}", b"x")
    assert system.rename(path(f"{root}/a"), path(f"{root}/z"))
    assert names(spark, root) == ["/z/b/c/f", "/z/empty", *(f"/z/many/{number}" for number in range(5))]
    assert len(system.globStatus(path(f"{root}/z/many/[1-3]"))) == 3
    # A directory stays when its last file has gone.
    assert system.delete(path(f"{root}/z/b/c/f"), False)
    assert system.exists(path(f"{root}/z/b/c"))
    assert system.delete(path(f"{root}/z"), True)
    assert not system.exists(path(f"{root}/z"))


def sidecar(spark: SparkSession, source: str, target: str) -> None:
    rows = spark.read.option("header", True).csv(source)
    same(rows)
    rows.write.partitionBy("part").parquet(target)


def main() -> None:
    settings, jars, what, *paths = sys.argv[1:]
    spark = session(Path(settings), Path(jars))
    if what == "tables":
        tables(spark, *paths)
    elif what == "files":
        replaced(spark, *paths)
        files(spark, *(f"{path}/fs" for path in paths))
    else:
        sidecar(spark, *paths)
    spark.stop()
    print("done")


if __name__ == "__main__":
    main()
