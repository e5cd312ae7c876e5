"""A gateway beside a pipeline: inputs at fixed commits, an open commit as output, and what is left there."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore import UNSIGNED
from botocore.exceptions import ClientError
from daemons import Daemon
from raw import ask
from sdk import s3_client
from sidecars import Pipeline

PART = 5 << 20
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with Daemon(tmp_path_factory.mktemp("pfs"), "--pfs-listen", "127.0.0.1:0") as running:
        made = Pipeline(running)
        yield made
        made.close()


class Job:
    """An input with two commits, the older of which is the job's, and an open output commit."""

    def __init__(self, pipeline: Pipeline) -> None:
        number = next(_numbers)
        self.pipeline = pipeline
        self.source, self.result = f"source-{number}", f"result-{number}"
        for repo in (self.source, self.result):
            pipeline.create_repo(repo)
        self.read = pipeline.commit(self.source, {"/a": b"old a", "/d/b": b"b"})
        pipeline.commit(self.source, {"/a": b"new a", "/c": b"c"})
        self.before = pipeline.commit(self.result, {"/kept": b"kept", "/gone": b"gone"})
        self.written = pipeline.start(self.result)

    @property
    def options(self) -> tuple[str, ...]:
        return (
            "--inputs",
            f"in={self.source}@{self.read}",
            "--output",
            f"out={self.result}@{self.written}",
        )

    def finished(self) -> dict[str, bytes]:
        """The files of the output, which is finished now; nothing else is left in its repo."""
        self.pipeline.finish(self.result, self.written)
        assert self.pipeline.branches(self.result) == ["master"]
        assert self.pipeline.commits(self.result) == [self.written, self.before]
        return self.pipeline.files(self.result, self.written)


@pytest.fixture
def job(pipeline: Pipeline) -> Job:
    return Job(pipeline)


def _refused(call: object, **words: object) -> tuple[int, str]:
    with pytest.raises(ClientError) as raised:
        call(**words)
    error = raised.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"]


def _is_clean(daemon: Daemon) -> None:
    assert not daemon.tracebacks


def test_inputs_are_read_only_at_their_commit(job: Job, tmp_path: Path) -> None:
    with job.pipeline.sidecar(tmp_path, *job.options) as daemon:
        s3 = s3_client(daemon.s3_url)
        assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="in")["Contents"]] == ["a", "d/b"]
        assert [entry["Key"] for entry in s3.list_objects(Bucket="in", Prefix="d/")["Contents"]] == ["d/b"]
        answer = s3.get_object(Bucket="in", Key="a")
        assert (answer["Body"].read(), "VersionId" in answer) == (b"old a", False)
        assert s3.head_object(Bucket="in", Key="d/b")["ContentLength"] == 1
        listed = s3.list_objects_v2(Bucket="in")["Contents"]
        assert {entry["LastModified"].replace(microsecond=0) for entry in listed} == {answer["LastModified"]}
        assert s3.get_object(Bucket="in", Key="a", Range="bytes=1-2")["Body"].read() == b"ld"
        assert _refused(s3.get_object, Bucket="in", Key="c") == (404, "NoSuchKey")
        s3.head_bucket(Bucket="in")
        for call, words in (
            (s3.put_object, {"Key": "a", "Body": b"x"}),
            (s3.put_object, {"Key": "a", "Body": bytes(2 << 20)}),
            (s3.delete_object, {"Key": "a"}),
            (s3.delete_objects, {"Delete": {"Objects": [{"Key": "a"}]}}),
            (s3.copy_object, {"Key": "e", "CopySource": "in/a"}),
            (s3.create_multipart_upload, {"Key": "a"}),
            (s3.list_multipart_uploads, {}),
            (s3.put_object_tagging, {"Key": "a", "Tagging": {"TagSet": []}}),
            (s3.list_object_versions, {}),
            (s3.get_object, {"Key": "a", "VersionId": job.read}),
        ):
            assert _refused(call, Bucket="in", **words) == (501, "NotImplemented"), (call, words)
        # A token of a list is no way to another commit.
        page = s3.list_objects_v2(Bucket="in", MaxKeys=1)
        assert page["IsTruncated"]
        rest = s3.list_objects_v2(Bucket="in", ContinuationToken=page["NextContinuationToken"])
        assert [entry["Key"] for entry in rest["Contents"]] == ["d/b"]
        ordinary = s3_client(job.pipeline.pfs.s3_url)
        foreign = ordinary.list_objects_v2(Bucket=job.source, MaxKeys=1)["NextContinuationToken"]
        assert _refused(s3.list_objects_v2, Bucket="in", ContinuationToken=foreign) == (
            400,
            "InvalidArgument",
        )
    _is_clean(daemon)
    assert set(job.finished()) == {"/kept", "/gone"}


def test_the_set_of_buckets_is_fixed(job: Job, tmp_path: Path) -> None:
    with job.pipeline.sidecar(tmp_path, *job.options) as daemon:
        s3 = s3_client(daemon.s3_url)
        created = {entry["Name"]: entry["CreationDate"] for entry in s3.list_buckets()["Buckets"]}
        assert {name: int(time.timestamp()) for name, time in created.items()} == {
            "in": job.pipeline.created(job.source),
            "out": job.pipeline.created(job.result),
        }
        for name in ("in", "out", "new", f"master.{job.source}"):
            assert _refused(s3.create_bucket, Bucket=name) == (501, "NotImplemented")
            assert _refused(s3.delete_bucket, Bucket=name) == (501, "NotImplemented")
        for name in (job.source, f"master.{job.source}", f"{job.read}.{job.source}", job.result):
            assert _refused(s3.head_bucket, Bucket=name) == (404, "404")
            assert _refused(s3.list_objects_v2, Bucket=name) == (404, "NoSuchBucket")
            assert _refused(s3.get_object, Bucket=name, Key="a") == (404, "NoSuchBucket")
            assert _refused(s3.put_object, Bucket=name, Key="a", Body=b"") == (404, "NoSuchBucket")
            copy = {"Bucket": "out", "Key": "x", "CopySource": f"{name}/a"}
            assert _refused(s3.copy_object, **copy) == (404, "NoSuchBucket")
        for name in ("in", "out"):
            assert "Status" not in s3.get_bucket_versioning(Bucket=name)
            assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == "PACHYDERM"
    _is_clean(daemon)


def _upload(s3: object, bucket: str, key: str, pieces: list[bytes]) -> dict[str, object]:
    """What completes a new upload of the parts."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=piece)[
                "ETag"
            ],
        }
        for number, piece in enumerate(pieces, 1)
    ]
    return {"Bucket": bucket, "Key": key, "UploadId": upload, "MultipartUpload": {"Parts": parts}}


def test_the_output_is_written_and_shows_nothing(job: Job, tmp_path: Path) -> None:
    large = [bytes([number]) * PART for number in (1, 2)] + [b"end"]
    with job.pipeline.sidecar(tmp_path, *job.options) as daemon:
        s3 = s3_client(daemon.s3_url)
        put = s3.put_object(Bucket="out", Key="p/new", Body=b"new", ContentType="a/b", Metadata={"m": "1"})
        assert "VersionId" not in put
        s3.put_object(Bucket="out", Key="p/large", Body=b"".join(large))
        s3.copy_object(Bucket="out", Key="copied", CopySource="in/a")
        s3.put_object(Bucket="out", Key="short-lived", Body=b"x")
        s3.delete_object(Bucket="out", Key="short-lived")
        s3.delete_object(Bucket="out", Key="gone")
        s3.delete_object(Bucket="out", Key="never-there")
        done = s3.delete_objects(Bucket="out", Delete={"Objects": [{"Key": "n1"}, {"Key": "n2"}]})
        assert [(entry["Key"], len(entry)) for entry in done["Deleted"]] == [("n1", 1), ("n2", 1)]
        # A key below another would break the pipeline's end.
        assert _refused(s3.put_object, Bucket="out", Key="p", Body=b"") == (400, "InvalidFilePath")
        completes = _upload(s3, "out", "m/joined", large)
        first = s3.complete_multipart_upload(**completes)
        # As after an answer that got lost.
        again = s3.complete_multipart_upload(**completes)
        assert (again["ETag"], "VersionId" in first) == (first["ETag"], False)
        aborted = _upload(s3, "out", "m/aborted", [b"x"])
        assert len(s3.list_multipart_uploads(Bucket="out")["Uploads"]) == 1
        names = {name: aborted[name] for name in ("Bucket", "Key", "UploadId")}
        assert len(s3.list_parts(**names)["Parts"]) == 1
        s3.abort_multipart_upload(**names)
        assert _refused(s3.complete_multipart_upload, **aborted) == (404, "NoSuchUpload")
        for key in ("p/new", "copied", "kept", "m/joined", "nothing"):
            assert _refused(s3.get_object, Bucket="out", Key=key) == (404, "NoSuchKey")
            assert _refused(s3.head_object, Bucket="out", Key=key) == (404, "404")
            copy = {"Bucket": "out", "Key": "x", "CopySource": f"out/{key}"}
            assert _refused(s3.copy_object, **copy) == (404, "NoSuchKey")
        for page in (s3.list_objects_v2(Bucket="out", Prefix="p"), s3.list_objects(Bucket="out")):
            assert ("Contents" in page, page["IsTruncated"]) == (False, False)
        s3.head_bucket(Bucket="out")
    _is_clean(daemon)
    assert job.finished() == {
        "/kept": b"kept",
        "/p/new": b"new",
        "/p/large": b"".join(large),
        "/copied": b"old a",
        "/m/joined": b"".join(large),
    }
    # What another gateway makes of it.
    ordinary = s3_client(job.pipeline.pfs.s3_url)
    assert ordinary.get_object(Bucket=job.result, Key="m/joined")["Body"].read() == b"".join(large)
    found = ordinary.head_object(Bucket=job.result, Key="p/new")
    assert (found["ContentType"], found["Metadata"]) == ("binary/octet-stream", {})


def test_a_finished_output_takes_nothing(job: Job, tmp_path: Path) -> None:
    with job.pipeline.sidecar(tmp_path, *job.options) as daemon:
        s3 = s3_client(daemon.s3_url)
        completes = _upload(s3, "out", "joined", [b"x"])
        job.pipeline.finish(job.result, job.written)
        before = job.pipeline.files(job.result, job.written)
        assert _refused(s3.put_object, Bucket="out", Key="late", Body=b"x") == (403, "AccessDenied")
        assert _refused(s3.delete_object, Bucket="out", Key="kept") == (403, "AccessDenied")
        assert _refused(s3.complete_multipart_upload, **completes) == (403, "AccessDenied")
        assert job.pipeline.files(job.result, job.written) == before
    _is_clean(daemon)


def test_a_readable_output_as_s3a_writes_it(job: Job, tmp_path: Path) -> None:
    """Hadoop's committer: markers, files of attempts, a rename by copy and delete, lists in between."""
    with job.pipeline.sidecar(tmp_path, *job.options, "--output-readable") as daemon:
        s3 = s3_client(daemon.s3_url)

        def keys(prefix: str) -> list[str]:
            page = s3.list_objects_v2(Bucket="out", Prefix=prefix)
            assert not page["IsTruncated"]
            return [entry["Key"] for entry in page.get("Contents", [])]

        table, attempt = "table/", "table/_temporary/0/_temporary/attempt_0/"
        assert _refused(s3.head_object, Bucket="out", Key=table) == (404, "404")
        for marker in (table, "table/_temporary/0/", attempt):
            s3.put_object(Bucket="out", Key=marker, Body=b"")
            assert s3.head_object(Bucket="out", Key=marker)["ContentLength"] == 0
            assert keys(marker) == [marker]
            if marker != table:
                s3.delete_objects(Bucket="out", Delete={"Objects": [{"Key": table}], "Quiet": True})
        large = [b"1" * PART, b"2"]
        for number in range(5):
            name = f"{attempt}part-{number}"
            if number:
                s3.put_object(Bucket="out", Key=name, Body=b"%d" % number)
            else:
                s3.complete_multipart_upload(**_upload(s3, "out", name, large))
            assert name in keys(attempt)
        for key in [key for key in keys(attempt) if key != attempt]:
            s3.copy_object(
                Bucket="out", Key=key.replace(attempt, table), CopySource={"Bucket": "out", "Key": key}
            )
        old = [{"Key": key} for key in keys("table/_temporary/")]
        gone = s3.delete_objects(Bucket="out", Delete={"Objects": old})
        assert (len(gone["Deleted"]), "Errors" in gone) == (len(old), False)
        assert keys("table/_temporary/") == []
        s3.put_object(Bucket="out", Key=f"{table}_SUCCESS", Body=b"")
        assert keys(table) == [f"{table}_SUCCESS", *(f"{table}part-{number}" for number in range(5))]
        listed = s3.list_objects_v2(Bucket="out", Delimiter="/")
        assert [entry["Prefix"] for entry in listed["CommonPrefixes"]] == [table]
        assert [entry["Key"] for entry in listed["Contents"]] == ["gone", "kept"]
        answer = s3.get_object(Bucket="out", Key=f"{table}part-0", Range=f"bytes={PART - 1}-")
        assert answer["Body"].read() == b"12"
        assert _refused(s3.get_object, Bucket="out", Key=name) == (404, "NoSuchKey")
    _is_clean(daemon)
    assert {path: data for path, data in job.finished().items() if path.startswith("/table/")} == {
        "/table/_SUCCESS": b"",
        "/table/part-0": b"".join(large),
        **{f"/table/part-{number}": b"%d" % number for number in range(1, 5)},
    }


def test_branches_and_several_workers(job: Job, tmp_path: Path) -> None:
    """An input's branch is looked up once for all workers; an output's is written as it is."""
    repo = job.result
    job.pipeline.finish(repo, job.written)
    options = (
        "--inputs",
        f"in={job.source}@master, old={job.source}@{job.read}",
        "--output",
        f"out={repo}@dev",
        "--workers",
        "2",
    )
    job.pipeline.put(repo, "/first", b"first", commit="dev")
    with job.pipeline.sidecar(tmp_path, *options) as daemon:
        pinned = daemon.wait_for(r"input in=\S+@master is the commit ([0-9a-f]{32})")
        assert pinned in job.pipeline.commits(job.source)
        job.pipeline.commit(job.source, {"/a": b"newest"})
        for number in range(12):
            # A connection of its own, for either worker.
            assert ask(daemon.s3_url, "GET", "/in/a").body == b"new a"
            assert ask(daemon.s3_url, "GET", "/old/a").body == b"old a"
            assert ask(daemon.s3_url, "PUT", f"/out/k{number}", body=b"%d" % number).status == 200
        job.pipeline.start(repo, "dev")
        s3 = s3_client(daemon.s3_url)
        s3.complete_multipart_upload(**_upload(s3, "out", "joined", [b"p" * PART, b"q"]))
        s3.delete_object(Bucket="out", Key="first")
        assert daemon.worker_pids
    _is_clean(daemon)
    job.pipeline.finish(repo, "dev")
    assert set(job.pipeline.branches(repo)) == {"master", "dev"}
    assert job.pipeline.files(repo, "dev") == {
        "/joined": b"p" * PART + b"q",
        **{f"/k{number}": b"%d" % number for number in range(12)},
    }


def test_what_cannot_be_found(job: Job, tmp_path: Path) -> None:
    """A commit's id is asked for when it is needed; a branch has to be there at the start."""
    options = ("--inputs", f"in={job.source}@{job.read},lost=no-such-repo@{job.read}")
    with job.pipeline.sidecar(tmp_path, *options) as daemon:
        s3 = s3_client(daemon.s3_url)
        assert _refused(s3.list_buckets) == (500, "InternalError")
        assert b"no-such-repo" in ask(daemon.s3_url, "GET", "/").body
        assert s3.get_object(Bucket="in", Key="a")["Body"].read() == b"old a"
        assert _refused(s3.get_object, Bucket="lost", Key="a") == (404, "NoSuchBucket")
        assert _refused(s3.head_bucket, Bucket="lost") == (404, "404")
    _is_clean(daemon)
    for place in (f"{job.source}@no-such-branch", "no-such-repo@master", f"{job.result}@master"):
        done = subprocess.run(
            [
                str(Path(sys.executable).parent / "twistd"),
                "--nodaemon",
                "--pidfile=",
                "pachgw",
                "--listen",
                "tcp:0:interface=127.0.0.1",
                "--workers",
                "1",
                "--pachd",
                job.pipeline.pfs.pfs_address,
                "--inputs",
                f"in={place}",
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        (line,) = [line for line in done.stdout.splitlines() if "cannot start" in line]
        assert f"--inputs in={place}: " in line
        assert (done.returncode, "Traceback" in done.stdout) == (1, False)


TOKENS = """
[[token]]
token = "pipeline-token"
subject = "pipeline:edges"
[[token]]
token = "admin-token"
subject = "pach:root"
[roles]
"pach:root" = ["SUPER"]
[scopes.edges]
"pipeline:edges" = "WRITER"
[scopes.images]
"pipeline:edges" = "READER"
"""


def test_the_rights_are_the_pipelines(tmp_path: Path) -> None:
    """Whoever comes may do what the gateway's own token may, and a client's token counts for nothing."""
    (tmp_path / "tokens.toml").write_text(TOKENS, encoding="utf-8")
    (tmp_path / "token").write_text("pipeline-token\n", encoding="utf-8")
    (tmp_path / "bad").write_text("no-such-token\n", encoding="utf-8")
    options = ("--pfs-listen", "127.0.0.1:0", "--pfs-tokens", str(tmp_path / "tokens.toml"))
    with Daemon(tmp_path / "state", *options) as pfs:
        admin = Pipeline(pfs, "admin-token")
        for repo in ("images", "edges", "private"):
            admin.create_repo(repo)
        read, private = admin.commit("images", {"/a": b"a"}), admin.commit("private", {"/a": b"a"})
        written = admin.start("edges")
        buckets = (
            "--inputs",
            f"in=images@{read},private=private@{private}",
            "--output",
            f"out=edges@{written}",
        )
        own = ("--pachd-token-file", str(tmp_path / "token"))
        with admin.sidecar(tmp_path / "gateway", *buckets, *own) as daemon:
            for number, client in enumerate(
                (
                    s3_client(daemon.s3_url),
                    s3_client(daemon.s3_url, token="admin-token"),
                    s3_client(daemon.s3_url, signature_version="s3"),
                    s3_client(daemon.s3_url, signature_version=UNSIGNED),
                )
            ):
                assert client.get_object(Bucket="in", Key="a")["Body"].read() == b"a"
                client.put_object(Bucket="out", Key=f"k{number}", Body=b"k")
                client.complete_multipart_upload(**_upload(client, "out", f"m{number}", [b"m"]))
                assert _refused(client.get_object, Bucket="private", Key="a") == (403, "AccessDenied")
                assert _refused(client.head_bucket, Bucket="private") == (403, "403")
                assert len(client.list_buckets()["Buckets"]) == 3
            wrong = ask(daemon.s3_url, "GET", "/in/a", token="one", secret="another")
            assert (wrong.status, wrong.code) == (403, "SignatureDoesNotMatch")
            wrong = ask(daemon.s3_url, "PUT", "/out/x", body=b"", headers={"Origin": "https://evil.example"})
            assert wrong.status == 403
            # A page can sign with any equal pair as well.
            url = s3_client(daemon.s3_url).generate_presigned_url(
                "put_object", Params={"Bucket": "out", "Key": "x"}
            )
            target = url.removeprefix(daemon.s3_url)
            wrong = ask(daemon.s3_url, "PUT", target, body=b"", headers={"Origin": "https://evil.example"})
            assert (wrong.status, wrong.code) == (403, "AccessForbidden")
        _is_clean(daemon)
        assert not [line for line in daemon.log if "pipeline-token" in line]
        with admin.sidecar(
            tmp_path / "gateway", *buckets, "--pachd-token-file", str(tmp_path / "bad")
        ) as daemon:
            for target in ("/", "/in/a", "/in"):
                refused = ask(daemon.s3_url, "GET", target, token="any")
                assert (refused.status, refused.code) == (403, "AccessDenied")
        _is_clean(daemon)
        admin.finish("edges", written)
        assert set(admin.files("edges", written)) == {f"/{name}{n}" for name in "km" for n in range(4)}
        admin.close()
