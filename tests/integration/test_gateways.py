"""Several gateways of one PFS, each with caches of its own: together they are one S3, balanced or not."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from balancers import Balancer
from botocore.exceptions import ClientError
from command import pachgw
from daemons import Daemon
from raw import ask
from sdk import s3_client
from secured import Files
from tools import KEYS, MIB

PROXIED = "haproxy:tcp:0:interface=127.0.0.1"
"""A port for a balancer that says who its client is."""
SECONDS = 30


@dataclass(frozen=True, slots=True)
class Gateways:
    """Two of them, and the one PFS behind."""

    daemons: tuple[Daemon, Daemon]

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(daemon.s3_url for daemon in self.daemons)

    @property
    def proxied(self) -> tuple[str, ...]:
        """Their addresses that take the PROXY protocol."""
        found = [re.findall(r"S3 listens on http://(\S+)", "\n".join(daemon.log)) for daemon in self.daemons]
        assert all(len(addresses) == 2 for addresses in found)
        return tuple(addresses[1] for addresses in found)

    def served(self, request_id: str) -> tuple[int, str]:
        """Which gateway has the request in its log, once it has ended there, and the client that it names."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for index, daemon in enumerate(self.daemons):
                for line in tuple(daemon.log):
                    if f" {request_id} " in line and (found := re.search(r"#info\] (\S+) ", line)):
                        return index, found[1]
            time.sleep(0.01)
        raise AssertionError(f"no gateway has {request_id}")


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    place = tmp_path_factory.mktemp("gateways")
    more = ("--listen", PROXIED, "--serve-without-auth")
    with (
        Daemon(place / "one", "--pfs-listen", "127.0.0.1:0", *more) as one,
        Daemon(
            place / "two",
            *("--pachd", one.pfs_address, "--cache-dir", str(place / "cache"), "--workers", "2", *more),
        ) as two,
    ):
        yield Gateways((one, two))
        assert not [line for line in (*one.log, *two.log) if "Traceback" in line]


def test_what_one_is_told_the_other_knows(gateways: Gateways) -> None:
    clients = [s3_client(url) for url in gateways.urls]
    bucket = "master.told"
    clients[0].create_bucket(Bucket=bucket)
    turns = cycle([(0, 1), (1, 0)])
    for number, (writer, reader) in zip(range(12), turns, strict=False):
        body = b"%d" % number * (number * 997 + 1)
        said = {"Metadata": {"n": str(number)}, "ContentType": f"text/x-{number}"}
        put = clients[writer].put_object(Bucket=bucket, Key="key", Body=body, **said)
        got = clients[reader].get_object(Bucket=bucket, Key="key")
        assert got["Body"].read() == body
        assert (got["VersionId"], got["ETag"]) == (put["VersionId"], put["ETag"])
        assert {name: got[name] for name in said} == said
    clients[0].delete_object(Bucket=bucket, Key="key")
    with pytest.raises(ClientError, match="NoSuchKey"):
        clients[1].get_object(Bucket=bucket, Key="key")
    assert [len(client.list_object_versions(Bucket=bucket)["Versions"]) for client in clients] == [12, 12]


def test_writes_through_both_at_once(gateways: Gateways) -> None:
    clients = [s3_client(url) for url in gateways.urls]
    bucket = "master.crowd"
    clients[0].create_bucket(Bucket=bucket)

    def put(number: int) -> str:
        answer = clients[number % 2].put_object(Bucket=bucket, Key=f"{number:02}", Body=b"%d" % number)
        return str(answer["VersionId"])

    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(put, range(40)))
    for number, version in enumerate(versions):
        other = clients[(number + 1) % 2]
        got = other.get_object(Bucket=bucket, Key=f"{number:02}", VersionId=version)
        assert got["Body"].read() == b"%d" % number
    # A listing's pages, each from another gateway, in both of its forms.
    for turned in (clients, clients[::-1]):
        keys: list[str] = []
        more: dict[str, object] = {}
        for client in cycle(turned):
            page = client.list_objects_v2(Bucket=bucket, MaxKeys=7, **more)
            keys += [item["Key"] for item in page["Contents"]]
            if not page["IsTruncated"]:
                break
            more = {"ContinuationToken": page["NextContinuationToken"]}
        assert keys == [f"{number:02}" for number in range(40)]
    dates = [
        {item["Key"]: item["LastModified"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]}
        for client in clients
    ]
    assert dates[0] == dates[1]


def test_an_upload_whose_parts_go_to_both(gateways: Gateways) -> None:
    clients = [s3_client(url) for url in gateways.urls]
    named = {"Bucket": "master.parts", "Key": "large"}
    clients[0].create_bucket(Bucket="master.parts")
    made = clients[0].create_multipart_upload(**named, Metadata={"who": "me"})
    named["UploadId"] = made["UploadId"]

    def part(number: int, body: bytes) -> dict[str, object]:
        client = clients[number % 2]
        return {
            "PartNumber": number,
            "ETag": client.upload_part(**named, PartNumber=number, Body=body)["ETag"],
        }

    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(part, (1, 2, 3), (b"1" * 5 * MIB, b"2" * 5 * MIB, b"3" * 5 * MIB)))
    # What one refuses to complete goes on in another commit, of which the other was not told.
    wrong = {"Parts": [{"PartNumber": 9, "ETag": '"0"'}]}
    with pytest.raises(ClientError, match="InvalidPart"):
        clients[1].complete_multipart_upload(**named, MultipartUpload=wrong)
    parts += [part(4, b"4" * 5 * MIB), part(5, b"end")]
    for client in clients:
        assert [item["PartNumber"] for item in client.list_parts(**named)["Parts"]] == [1, 2, 3, 4, 5]
    done = clients[1].complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    # The answer was lost on its way, and the balancer chose another for the next try.
    again = clients[0].complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    assert again["ETag"] == done["ETag"]
    del named["UploadId"]
    for client in clients:
        assert not client.list_multipart_uploads(Bucket="master.parts").get("Uploads")
        got = client.get_object(**named)
        assert got["Metadata"] == {"who": "me"}
        assert got["Body"].read() == b"".join(b"%d" % n * 5 * MIB for n in (1, 2, 3, 4)) + b"end"


@pytest.mark.parametrize("name", ["haproxy", "nginx"])
def test_behind_a_balancer(name: str, gateways: Gateways, tmp_path: Path) -> None:
    places = gateways.proxied if name == "haproxy" else tuple(urlsplit(url).netloc for url in gateways.urls)
    bucket = f"master.by-{name}"
    served: set[int] = set()
    with Balancer(name, places, tmp_path) as balancer:
        s3 = s3_client(balancer.url, retries={"max_attempts": 3})
        s3.create_bucket(Bucket=bucket)
        # As signed, on all ways: names of headers that proxies take for wrong, and of keys that they tidy up.
        odd = {"under_score": "1", "dot.ted": "2"}
        for key in (*KEYS, "a//b", "a/./b", "trailing/"):
            put = s3.put_object(Bucket=bucket, Key=key, Body=b"" if key[-1] == "/" else b"x", Metadata=odd)
            got = s3.get_object(Bucket=bucket, Key=key)
            assert (got["Metadata"], got["VersionId"]) == (odd, put["VersionId"])
            served |= {gateways.served(it["ResponseMetadata"]["RequestId"])[0] for it in (put, got)}
        assert served == {0, 1}
        with ThreadPoolExecutor(4) as pool:
            body = b"0123456789abcdef" * (6 * MIB // 16)
            made = s3.create_multipart_upload(Bucket=bucket, Key="large")
            upload = {"Bucket": bucket, "Key": "large", "UploadId": made["UploadId"]}
            etags = pool.map(
                lambda number: s3.upload_part(**upload, PartNumber=number, Body=body)["ETag"], range(1, 7)
            )
            parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == body * 6
        # A refusal that comes before the body was read is the answer, not a broken connection.
        with pytest.raises(ClientError, match="NoSuchBucket"):
            s3.put_object(Bucket="master.nosuch", Key="k", Body=body)
        answer = ask(balancer.url, "GET", f"/{bucket}/plain.txt", token="any")
        assert answer.status == 200
        assert gateways.served(answer.headers["x-amz-request-id"])[1] == "127.0.0.1"


V2 = b"\r\n\r\n\x00\r\nQUIT\n"
"""What version 2 of the PROXY protocol begins with."""
ASK = b"GET /master.nosuch?location HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def answer(address: str, data: bytes) -> bytes:
    """All that comes back until the end of the connection."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), SECONDS) as connection:
        connection.sendall(data)
        said = b""
        try:
            while more := connection.recv(65536):
                said += more
        except ConnectionResetError:
            pass
        return said


@pytest.mark.parametrize(
    ("said", "client"),
    [
        (b"PROXY TCP4 203.0.113.9 198.51.100.1 5000 80\r\n", "203.0.113.9"),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 5000 80\r\n", "2001:db8::9"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        # Cloud balancers add fields of their own.
        (
            V2 + b"\x21\x11\x00\x11\xcb\x00\x71\x09\xc6\x33\x64\x01\x13\x88\x00\x50\x04\x00\x02ab",
            "203.0.113.9",
        ),
        (V2 + b"\x20\x00\x00\x00", "127.0.0.1"),
    ],
    ids=["v1", "v1-ipv6", "v1-unknown", "v2", "v2-local"],
)
def test_who_the_proxy_says_its_client_is(said: bytes, client: str, gateways: Gateways) -> None:
    for index, address in enumerate(gateways.proxied):
        found = answer(address, said + ASK)
        assert found.startswith(b"HTTP/1.1 404 "), found
        (request_id,) = re.findall(rb"(?i)x-amz-request-id: (\S+)", found)
        assert gateways.served(request_id.decode()) == (index, client)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"PROXY TCP4 a b c d\r\n",
        b"PROXY TCP4 203.0.113.9\r\n",
        b"PROXY TCP4 \xff\xff 198.51.100.1 x 80\r\n",
        b"PROXY TCP9 203.0.113.9 198.51.100.1 5000 80\r\n",
        b"PROXY \r\n",
        V2 + b"\x31\x11\x00\x0c" + bytes(12),
        V2 + b"\x21\x11\x00\x04" + bytes(4),
        V2 + b"\x21\xf1\x00\x0c" + bytes(12),
        V2 + b"\x21\x12\x00\x00",
        V2 + b"\x2f\x11\x00\x0c" + bytes(12),
    ],
    ids=lambda said: said[:24].hex() if isinstance(said, bytes) else None,
)
def test_who_does_not_say_it_gets_no_answer(said: bytes, gateways: Gateways) -> None:
    assert b"200 OK" not in answer(gateways.proxied[0], said + ASK)


def test_doctor_asks_as_a_proxy_does(gateways: Gateways) -> None:
    port = gateways.proxied[0].rpartition(":")[2]
    listen = f"haproxy:tcp:{port}:interface=127.0.0.1"
    found = pachgw("doctor", "--state-dir", gateways.daemons[0].state_dir, "--listen", listen, "--json")
    texts = {finding["name"]: finding["found"] for finding in found.json["findings"]}
    assert "a gateway serves there already" in texts["listener"]


def test_tls_behind_what_the_proxy_says(tmp_path: Path) -> None:
    files = Files(tmp_path)
    options = [f"haproxy:{word}" if word.startswith("tls:") else word for word in files.options]
    with Daemon(tmp_path / "state", *options, "--serve-without-auth") as daemon:
        port = int(daemon.wait_for(r"S3 listens on https://\S+:(\d+)"))
        with socket.create_connection(("127.0.0.1", port), SECONDS) as bare:
            bare.sendall(b"PROXY TCP4 203.0.113.9 198.51.100.1 5000 443\r\n")
            with files.context().wrap_socket(bare, server_hostname="localhost") as connection:
                body = b"0123456789abcdef" * 65536
                head = f"PUT /master.nosuch/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
                connection.sendall(head.encode() + b"\r\nConnection: close\r\n\r\n" + body)
                assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
        daemon.wait_for(r'#info\] 203\.0\.113\.9 .* "PUT /master\.nosuch/k ')
