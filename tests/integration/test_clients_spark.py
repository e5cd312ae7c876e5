"""Spark by Hadoop's s3a, with the settings of connect.md and sidecar.md; `make test-long` installs it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from daemons import Daemon
from raw import ask
from sidecars import Pipeline
from tools import SCRIPTS, run

DOCS = Path(__file__).parents[2] / "docs"
ENDPOINT = "127.0.0.1:30600"
ROWS = 1000
SECONDS = 1500
"""For a job; a busy machine takes minutes to start a JVM and all of Spark in it."""

pytestmark = pytest.mark.long


def block(page: str, first_line: str) -> str:
    """The settings of a page, by the comment that they begin with."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (found,) = re.findall(rf"^```ini\n(# {re.escape(first_line)}\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


def spark(directory: Path, settings: str, url: str, *words: str) -> None:
    """Run the job with a page's settings."""
    place = Path(os.environ.get("S3_SPARK", "/nonexistent"))
    if shutil.which("java") is None or not list(place.glob("jars/hadoop-aws-*.jar")):
        pytest.skip("Spark, its jars or Java are not installed")
    path = directory / "settings"
    path.write_text(settings.replace(ENDPOINT, urlsplit(url).netloc), encoding="utf-8")
    python = str(place / "bin" / "python")
    job = str(SCRIPTS / "spark_job.py")
    environ = {"PYSPARK_PYTHON": python}
    said = run(python, job, str(path), str(place / "jars"), *words, environ=environ, seconds=SECONDS)
    assert said.splitlines()[-1] == "done"


MAGIC = block("connect.md", "the magic committer, besides")
DEFAULTS = block("connect.md", "conf/spark-defaults.conf")


@pytest.mark.parametrize("more", ["", MAGIC], ids=["file", "magic"])
def test_tables(daemon: Daemon, s3: object, bucket: str, more: str, tmp_path: Path) -> None:
    spark(tmp_path, DEFAULTS + more, daemon.s3_url, "tables", f"s3a://{bucket}/in")
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_directories_and_renames(daemon: Daemon, bucket: str, tmp_path: Path) -> None:
    spark(tmp_path, DEFAULTS, daemon.s3_url, "files", f"s3a://{bucket}/in")


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    with Daemon(tmp_path / "pfs", "--pfs-listen", "127.0.0.1:0") as pfs:
        made = Pipeline(pfs)
        yield made
        made.close()


@pytest.mark.parametrize("readable", [True, False])
def test_beside_a_pipeline(pipeline: Pipeline, readable: bool, tmp_path: Path) -> None:
    pipeline.create_repo("edges")
    pipeline.create_repo("images")
    rows = "".join(f"{number},{number % 3}\n" for number in range(ROWS))
    given = pipeline.commit("images", {"/rows/a.csv": f"id,part\n{rows}".encode()})
    output = pipeline.start("edges")
    words = ["--inputs", f"images=images@{given}", "--output", f"out=edges@{output}"]
    settings = DEFAULTS + block("sidecar.md", "without keys")
    if readable:
        words.append("--output-readable")
    else:
        settings += block("sidecar.md", "an output that is not readable")
    with pipeline.sidecar(tmp_path / "gateway", *words, "--cache-dir", str(tmp_path / "cache")) as gateway:
        spark(tmp_path, settings, gateway.s3_url, "sidecar", "s3a://images/rows", "s3a://out/parts")
        if not readable:
            # Hadoop's committers leave the object that stands for the directory.
            assert ask(gateway.s3_url, "DELETE", "/out/parts/").status == 204
        assert not [line for line in gateway.log if "Traceback" in line or 'HTTP/1.1" 500' in line]
    pipeline.finish("edges", output)
    written = pipeline.files("edges", output)
    parts = {re.sub(r"part-.*", "", path) for path in written if not path.endswith("/_SUCCESS")}
    assert parts == {f"/parts/part={number}/" for number in range(3)}
    assert all(data[:4] == data[-4:] == b"PAR1" for path, data in written.items() if ".parquet" in path)
    assert pipeline.branches("edges") == ["master"]
