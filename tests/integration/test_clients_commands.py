"""The command-line clients: up, down, between buckets, in parts, with headers, and twice for nothing."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import commands
import pytest
from daemons import Daemon
from tools import MIB, Files, digest_of, digests_below, fill, run, seconds_now

LARGE = 40 * MIB + 1


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("large") / "large.bin"
    return path, fill(path, LARGE, 7)


@pytest.fixture
def aws(daemon: Daemon) -> list[str]:
    return commands.aws(daemon.s3_url)


def test_aws_s3(
    aws: list[str], s3: object, bucket: str, other: str, files: Files, large: tuple[Path, str], tmp_path: Path
) -> None:
    here, out = str(files.directory), tmp_path / "out"
    run(*aws, "s3", "cp", "--recursive", "--quiet", here, f"s3://{bucket}/in/")
    assert run(*aws, "s3", "sync", here, f"s3://{bucket}/in/") == ""
    run(*aws, "s3", "sync", "--quiet", f"s3://{bucket}/in/", str(out))
    assert digests_below(out) == files.digests
    assert run(*aws, "s3", "sync", f"s3://{bucket}/in/", str(out)) == ""
    before = seconds_now()
    words = ("--content-type", "text/x-a", "--cache-control", "no-store", "--metadata", "who=me,n=1")
    run(*aws, "s3", "cp", "--quiet", *words, str(large[0]), f"s3://{bucket}/large")
    head = s3.head_object(Bucket=bucket, Key="large")
    said = (head["ContentType"], head["CacheControl"], head["Metadata"], head["ContentLength"])
    assert said == ("text/x-a", "no-store", {"who": "me", "n": "1"}, LARGE)
    assert before <= head["LastModified"] <= seconds_now()
    assert str(LARGE) in run(*aws, "s3", "ls", f"s3://{bucket}/large")
    # Between buckets, in parts; of which this client does not take metadata along.
    run(*aws, "s3", "mv", "--quiet", f"s3://{bucket}/large", f"s3://{other}/moved")
    run(*aws, "s3", "cp", "--quiet", f"s3://{other}/moved", str(tmp_path / "large"))
    assert digest_of(tmp_path / "large") == large[1]
    (out / "plain.txt").unlink()
    assert "delete: " in run(*aws, "s3", "sync", "--delete", str(out), f"s3://{bucket}/in/")
    run(*aws, "s3", "rm", "--recursive", "--quiet", f"s3://{bucket}")
    run(*aws, "s3", "rb", f"s3://{bucket}")


def test_aws_s3_waits_for_no_answer_after_an_empty_file(aws: list[str], bucket: str, tmp_path: Path) -> None:
    # It asks with Expect for empty bodies too, and misreads what comes after an answer without a 100.
    for number in range(6):
        fill(tmp_path / "here" / f"{number}", number % 2, number)
    config = tmp_path / "config"
    config.write_text("[default]\ns3 =\n  max_concurrent_requests = 1\n", encoding="utf-8")
    environ = {"AWS_CONFIG_FILE": str(config), "AWS_MAX_ATTEMPTS": "1"}
    words = ("--cli-read-timeout", "20", "s3", "cp", "--recursive", "--quiet")
    run(*aws, *words, str(tmp_path / "here"), f"s3://{bucket}/", environ=environ)


@pytest.mark.long
def test_aws_s3_between_buckets_and_pipes(aws: list[str], bucket: str, other: str, files: Files) -> None:
    run(*aws, "s3", "cp", "--recursive", "--quiet", str(files.directory), f"s3://{bucket}/in/")
    run(*aws, "s3", "sync", "--quiet", f"s3://{bucket}/in/", f"s3://{other}/in/")
    assert run(*aws, "s3", "sync", f"s3://{bucket}/in/", f"s3://{other}/in/") == ""
    run(*aws, "s3", "cp", "--quiet", "-", f"s3://{bucket}/piped", stdin=b"by a pipe")
    assert run(*aws, "s3", "cp", f"s3://{bucket}/piped", "-") == "by a pipe"
    url = run(*aws, "s3", "presign", f"s3://{bucket}/piped").strip()
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"by a pipe"
    run(*aws, "s3", "rb", "--force", f"s3://{other}")
    run(*aws, "s3", "mb", f"s3://{other}")


@pytest.mark.long
def test_aws_s3api(aws: list[str], bucket: str, files: Files, tmp_path: Path) -> None:
    def api(name: str, *words: str) -> dict[str, object]:
        return json.loads(run(*aws, "s3api", name, "--bucket", bucket, *words) or "{}")

    body = str(files.directory / "plain.txt")
    put = api("put-object", "--key", "k", "--body", body, "--metadata", "a=b", "--tagging", "x=1")
    assert api("head-object", "--key", "k")["Metadata"] == {"a": "b"}
    assert api("get-object-tagging", "--key", "k")["TagSet"] == [{"Key": "x", "Value": "1"}]
    attributes = api("get-object-attributes", "--key", "k", "--object-attributes", "ETag", "ObjectSize")
    assert attributes["ObjectSize"] == 100
    api("delete-object", "--key", "k")
    versions = api("list-object-versions")
    assert [item["VersionId"] for item in versions["Versions"]] == [put["VersionId"]]
    back = str(tmp_path / "back")
    got = api("get-object", "--key", "k", "--version-id", put["VersionId"], back)
    assert got["ETag"] == put["ETag"]
    assert digest_of(Path(back)) == files.digests["plain.txt"]
    upload = api("create-multipart-upload", "--key", "m")["UploadId"]
    words = ("--key", "m", "--upload-id", upload)
    part = api("upload-part", *words, "--part-number", "1", "--body", body)
    assert [item["PartNumber"] for item in api("list-parts", *words)["Parts"]] == [1]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    api("complete-multipart-upload", *words, "--multipart-upload", json.dumps(parts))
    assert [item["Key"] for item in api("list-objects-v2")["Contents"]] == ["m"]
    assert api("get-bucket-versioning")["Status"] == "Enabled"
    assert api("get-bucket-acl")["Grants"][0]["Permission"] == "FULL_CONTROL"


def test_s5cmd(
    daemon: Daemon,
    s3: object,
    bucket: str,
    other: str,
    files: Files,
    large: tuple[Path, str],
    tmp_path: Path,
) -> None:
    s5cmd = commands.s5cmd(daemon.s3_url)
    run(*s5cmd, "cp", f"{files.directory}/", f"s3://{bucket}/in/")
    words = ("--content-type", "text/x-a", "--metadata", "who=me", "--part-size", "6")
    run(*s5cmd, "cp", *words, str(large[0]), f"s3://{bucket}/large")
    head = s3.head_object(Bucket=bucket, Key="large")
    assert (head["ContentType"], head["Metadata"]) == ("text/x-a", {"who": "me"})
    # Its pattern characters cannot be escaped in a source, so the rest is fetched as a whole.
    run(*s5cmd, "cp", f"s3://{bucket}/in/*", f"{tmp_path}/out/")
    assert digests_below(tmp_path / "out") == files.digests
    run(*s5cmd, "cp", "--concurrency", "3", f"s3://{bucket}/large", f"{tmp_path}/large")
    assert digest_of(tmp_path / "large") == large[1]
    run(*s5cmd, "sync", f"{files.directory}/", f"s3://{bucket}/sync/")
    assert run(*s5cmd, "sync", f"{files.directory}/", f"s3://{bucket}/sync/") == ""
    run(*s5cmd, "sync", f"s3://{bucket}/sync/*", f"s3://{other}/sync/")
    assert run(*s5cmd, "sync", f"s3://{bucket}/sync/*", f"s3://{other}/sync/") == ""
    run(*s5cmd, "mv", f"s3://{bucket}/large", f"s3://{other}/moved")
    assert s3.head_object(Bucket=other, Key="moved")["ContentLength"] == LARGE
    run(*s5cmd, "pipe", f"s3://{bucket}/piped", stdin=b"by a pipe")
    assert run(*s5cmd, "cat", f"s3://{bucket}/piped") == "by a pipe"
    with urllib.request.urlopen(run(*s5cmd, "presign", f"s3://{bucket}/piped").strip()) as answer:
        assert answer.read() == b"by a pipe"
    assert f"{LARGE}" in run(*s5cmd, "ls", f"s3://{other}/moved")
    assert run(*s5cmd, "ls", "--all-versions", f"s3://{bucket}/piped").count("piped") == 1
    run(*s5cmd, "rm", f"s3://{bucket}/*")
    run(*s5cmd, "rb", f"s3://{bucket}")


def test_rclone(
    daemon: Daemon,
    s3: object,
    bucket: str,
    other: str,
    files: Files,
    large: tuple[Path, str],
    tmp_path: Path,
) -> None:
    rclone = commands.rclone(daemon.s3_url, tmp_path)
    here = str(files.directory)
    run(*rclone, "copy", here, f"gw:{bucket}/in")
    run(*rclone, "check", here, f"gw:{bucket}/in")
    run(*rclone, "check", "--download", here, f"gw:{bucket}/in")
    words = ("--metadata-set", "content-type=text/x-a", "--metadata-set", "who=me", "--metadata")
    parts = ("--s3-upload-cutoff", "5M", "--s3-chunk-size", "6M")
    run(*rclone, "copyto", *words, *parts, str(large[0]), f"gw:{bucket}/large")
    head = s3.head_object(Bucket=bucket, Key="large")
    assert (head["ContentType"], head["Metadata"]["who"]) == ("text/x-a", "me")
    run(*rclone, "copy", f"gw:{bucket}/in", str(tmp_path / "out"))
    assert digests_below(tmp_path / "out") == files.digests
    # Times are kept, by its own metadata, up and down.
    assert (tmp_path / "out/plain.txt").stat().st_mtime == (files.directory / "plain.txt").stat().st_mtime
    run(*rclone, "sync", here, f"gw:{bucket}/in")
    assert _moved(rclone, "sync", here, f"gw:{bucket}/in") == []
    assert _moved(rclone, "sync", f"gw:{bucket}/in", str(tmp_path / "out")) == []
    run(*rclone, "sync", f"gw:{bucket}/in", f"gw:{other}/in")
    assert _moved(rclone, "sync", f"gw:{bucket}/in", f"gw:{other}/in") == []
    run(*rclone, "moveto", "--s3-copy-cutoff", "6M", f"gw:{bucket}/large", f"gw:{other}/moved")
    run(*rclone, "copyto", f"gw:{other}/moved", str(tmp_path / "large"))
    assert digest_of(tmp_path / "large") == large[1]
    run(*rclone, "rcat", f"gw:{bucket}/piped", stdin=b"by a pipe")
    assert run(*rclone, "cat", f"gw:{bucket}/piped") == "by a pipe"
    run(*rclone, "touch", "--timestamp", "2001-02-03T04:05:06", f"gw:{bucket}/piped")
    (listed,) = json.loads(run(*rclone, "lsjson", f"gw:{bucket}/piped"))
    assert listed["ModTime"].startswith("2001-02-03T04:05:06")
    assert run(*rclone, "lsf", "--s3-versions", f"gw:{bucket}", "--files-only").count("piped") == 2
    run(*rclone, "mkdir", f"gw:{bucket}/empty", "--s3-directory-markers")
    run(*rclone, "delete", f"gw:{bucket}")
    run(*rclone, "rmdirs", "--s3-directory-markers", f"gw:{bucket}")


def _moved(rclone: list[str], *command: str) -> list[str]:
    """What a dry run would move or change."""
    said = run(*rclone, "--use-json-log", "--log-file", f"{rclone[2]}.log", "-v", "--dry-run", *command)
    assert said == ""
    log = Path(f"{rclone[2]}.log")
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    log.unlink()
    return [str(line["msg"]) for line in lines if "skipped" in line]


@pytest.mark.parametrize(
    "signature_v2", [False, pytest.param(True, marks=pytest.mark.long)], ids=["v4", "v2"]
)
def test_s3cmd(
    daemon: Daemon,
    s3: object,
    bucket: str,
    other: str,
    files: Files,
    large: tuple[Path, str],
    tmp_path: Path,
    signature_v2: bool,
) -> None:
    s3cmd = commands.s3cmd(daemon.s3_url, tmp_path, signature_v2=signature_v2)
    here, out = f"{files.directory}/", f"{tmp_path}/out/"
    run(*s3cmd, "sync", here, f"s3://{bucket}/in/")
    assert "upload:" not in run(*s3cmd, "sync", here, f"s3://{bucket}/in/")
    Path(out).mkdir()
    run(*s3cmd, "sync", f"s3://{bucket}/in/", out)
    assert digests_below(Path(out)) == files.digests
    assert "download:" not in run(*s3cmd, "sync", f"s3://{bucket}/in/", out)
    words = ("--mime-type", "text/x-a", "--add-header", "x-amz-meta-who:me", "--multipart-chunk-size-mb=15")
    run(*s3cmd, "put", *words, str(large[0]), f"s3://{bucket}/large")
    head = s3.head_object(Bucket=bucket, Key="large")
    assert (head["ContentType"], head["Metadata"]["who"]) == ("text/x-a", "me")
    run(*s3cmd, "mv", f"s3://{bucket}/large", f"s3://{other}/moved")
    run(*s3cmd, "get", f"s3://{other}/moved", f"{tmp_path}/large")
    assert digest_of(tmp_path / "large") == large[1]
    assert "text/x-a" in run(*s3cmd, "info", f"s3://{other}/moved")
    run(*s3cmd, "modify", "--add-header", "Cache-Control:no-store", f"s3://{other}/moved")
    assert s3.head_object(Bucket=other, Key="moved")["CacheControl"] == "no-store"
    # Not `la`, which reads every bucket: other tests have keys that XML cannot say.
    assert f"s3://{other}" in run(*s3cmd, "ls")
    assert str(LARGE) in run(*s3cmd, "ls", f"s3://{other}/")
    assert f"s3://{bucket}/in/" in run(*s3cmd, "ls", f"s3://{bucket}")
    url = run(*s3cmd, "signurl", f"s3://{bucket}/in/plain.txt", "+60").strip()
    with urllib.request.urlopen(url) as answer:
        assert len(answer.read()) == 100
    run(*s3cmd, "del", "--recursive", "--force", f"s3://{bucket}")
    run(*s3cmd, "rb", f"s3://{bucket}")
    run(*s3cmd, "mb", f"s3://{bucket}")
