"""Single signed S3 requests with whole answers: buckets, pages of listings, uploads in parts.

`python -m bench.client` reads what to do as JSON and prints what came of it. Not for many small requests
(bench.http) nor for large bodies (bench.bulk).
"""

from __future__ import annotations

import http.client
import json
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from html import unescape
from typing import Any

from bench.pace import own_cpu
from bench.signing import Keys, Signer, path_of, query_string

MIB = 1024 * 1024
TIMEOUT_SECONDS = 600.0
AT_ONCE = 4
TRIES = 600
AGAIN_SECONDS = 0.05
"""After an answer of 503."""


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status} {body[:300].decode('utf-8', 'replace')}")
        self.status = status


class Client:
    """One connection to an endpoint; not for several threads. Closing it closes the connection."""

    def __init__(self, endpoint: dict[str, Any]) -> None:
        """`endpoint` is what subjects.S3.told says."""
        self._host, self._port = endpoint["host"], endpoint["ports"][0]
        self._tls = endpoint["tls"]
        self.bucket = endpoint["bucket"]
        self._keys = Keys(access=endpoint["access"], secret=endpoint["secret"], region=endpoint["region"])
        self._connection: http.client.HTTPConnection | None = None

    def _opened(self) -> http.client.HTTPConnection:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
            self._connection = kind(self._host, self._port, timeout=TIMEOUT_SECONDS)
        return self._connection

    def ask(
        self,
        method: str,
        key: str = "",
        query: dict[str, str] | None = None,
        *,
        body: bytes | None = None,
        bucket: str | None = None,
    ) -> tuple[dict[str, str], bytes]:
        """Headers and body of the answer; one that is to be tried again is. Raises Refused."""
        for _ in range(TRIES):
            try:
                return self._once(method, key, query or {}, body, bucket or self.bucket)
            except Refused as refused:
                if refused.status != 503:
                    raise
                time.sleep(AGAIN_SECONDS)
        raise SystemExit(f"{method} {key}: still to be tried again")

    def _once(
        self, method: str, key: str, query: dict[str, str], body: bytes | None, bucket: str
    ) -> tuple[dict[str, str], bytes]:
        usual = 443 if self._tls else 80
        host = self._host if self._port == usual else f"{self._host}:{self._port}"
        path, said = path_of(bucket, key), query_string(query)
        length = len(body or b"") if method in {"PUT", "POST"} else None
        head = Signer(self._keys, host).head(method, path, said, length=length)
        lines = head.decode().split("\r\n")[1:-2]
        connection = self._opened()
        connection.putrequest(
            method, f"{path}?{said}" if said else path, skip_host=True, skip_accept_encoding=True
        )
        for line in lines:
            name, _, value = line.partition(": ")
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        if answer.will_close:
            self.close()
        if not 200 <= answer.status < 300:
            raise Refused(answer.status, data)
        return {name.lower(): value for name, value in answer.getheaders()}, data

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def make_bucket(endpoint: dict[str, Any], bucket: str) -> None:
    """The bucket is there; it may have been before."""
    with closing(Client(endpoint)) as client:
        try:
            client.ask("HEAD", bucket=bucket)
        except Refused:
            client.ask("PUT", bucket=bucket)


def walk(endpoint: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """Pages of a listing one after the other: `pages` seconds of each, `keys` of all, `cpu` of this process.

    Told `prefix`, `budget_seconds` and a `limit` of pages to stop after, `fresh`: a connection for each page.
    """
    client = Client(endpoint)
    pages: list[float] = []
    keys, token = 0, ""
    cpu, begin = own_cpu(), time.perf_counter()
    while len(pages) < told["limit"] and time.perf_counter() - begin < told["budget_seconds"]:
        query = {"list-type": "2", "prefix": told["prefix"], "max-keys": "1000"}
        if token:
            query["continuation-token"] = token
        before = time.perf_counter()
        _, body = client.ask("GET", query=query)
        pages.append(time.perf_counter() - before)
        text = body.decode()
        keys += text.count("<Key>")
        if told["fresh"]:
            client.close()
        found = re.search(r"<NextContinuationToken>([^<]+)<", text)
        if found is None:
            break
        token = unescape(found[1])
    else:
        # There would be more.
        client.close()
        return {"pages": pages, "keys": keys, "cpu": own_cpu() - cpu, "whole": False}
    client.close()
    return {"pages": pages, "keys": keys, "cpu": own_cpu() - cpu, "whole": True}


def in_parts(endpoint: dict[str, Any], told: dict[str, Any]) -> dict[str, float]:
    """Seconds from the beginning of an upload in parts to the answer of its complete, four parts at once."""
    with open(told["source"], "rb") as file:  # noqa: PTH123
        pieces = list(iter(lambda: file.read(told["part_bytes"]), b""))
    cpu, begin = own_cpu(), time.perf_counter()
    client = Client(endpoint)
    key = told["key"]
    _, body = client.ask("POST", key, {"uploads": ""})
    upload_id = unescape(re.findall("<UploadId>([^<]*)<", body.decode())[0])

    def put(numbers: range) -> list[tuple[int, str]]:
        with closing(Client(endpoint)) as own:
            return [
                (
                    number,
                    own.ask(
                        "PUT",
                        key,
                        {"partNumber": str(number), "uploadId": upload_id},
                        body=pieces[number - 1],
                    )[0]["etag"],
                )
                for number in numbers
            ]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        shares = [range(first + 1, len(pieces) + 1, AT_ONCE) for first in range(AT_ONCE)]
        etags = sorted(one for share in pool.map(put, shares) for one in share)
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in etags
    )
    form = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    _, answer = client.ask("POST", key, {"uploadId": upload_id}, body=form)
    if b"<CompleteMultipartUploadResult" not in answer:
        raise SystemExit(answer.decode())
    client.close()
    return {"seconds": time.perf_counter() - begin, "cpu": own_cpu() - cpu}


def main() -> None:
    told = json.load(sys.stdin)
    endpoint = told.pop("endpoint")
    works = {"walk": walk, "in-parts": in_parts}
    print(json.dumps(works[told.pop("work")](endpoint, told)))


if __name__ == "__main__":
    main()
