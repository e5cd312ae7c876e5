"""python-pachyderm beside S3: both see the same files and commits."""

from __future__ import annotations

from urllib.parse import urlsplit

from daemons import Daemon
from tools import run

PACHYDERM = """
import sys
import python_pachyderm

host, port, repo = sys.argv[1:]
client = python_pachyderm.Client(host=host, port=int(port))
assert client.get_remote_version().major == 1
assert client.get_file((repo, "master"), "/from/s3").read() == b"by S3"
with client.commit(repo, "master") as commit:
    client.put_file_bytes(commit, "/from/pfs", b"by ")
    client.put_file_bytes(commit, "/from/pfs", b"PFS")
print([info.file.path for info in client.walk_file((repo, "master"), "/")])
print(client.inspect_branch(repo, "master").head.id)
"""


def test_python_pachyderm_and_s3_see_the_same(
    daemon: Daemon, s3: object, bucket: str, pachyderm_python: str
) -> None:
    s3.put_object(Bucket=bucket, Key="from/s3", Body=b"by S3")
    address = urlsplit(daemon.pfs_address)
    said = run(
        pachyderm_python,
        "-c",
        PACHYDERM,
        str(address.hostname),
        str(address.port),
        bucket.partition(".")[2],
        environ={"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
    )
    paths, head = said.splitlines()
    assert paths == "['/', '/from', '/from/pfs', '/from/s3']"
    answer = s3.get_object(Bucket=bucket, Key="from/pfs")
    assert (answer["Body"].read(), answer["VersionId"]) == (b"by PFS", head)
