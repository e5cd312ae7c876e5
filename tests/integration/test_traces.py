"""Spans of OpenTelemetry by the real SDK, as a collector gets them by HTTP; and nothing of it when off."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from counting_pfs import OPTIONS, CountingPFS
from daemons import Daemon
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from raw import ask

SECONDS = 30
CLIENTS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""A trace that a client has begun."""
# Batches go at once.
ENVIRON = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


class Collector:
    """Takes OTLP over HTTP."""

    def __init__(self) -> None:
        self._came = threading.Condition()
        self.spans: list[Span] = []
        self.services: set[str] = set()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                owner.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def take(self, sent: ExportTraceServiceRequest) -> None:
        with self._came:
            for resource in sent.resource_spans:
                told = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
                self.services.add(told["service.name"])
                for scope in resource.scope_spans:
                    self.spans += scope.spans
            self._came.notify_all()

    def trace(self, request_id: str) -> tuple[Span, list[Span]]:
        """The span of a request, once it has come, and those of its calls."""

        def found() -> list[Span]:
            return [span for span in self.spans if said(span).get("pachgw.request_id") == request_id]

        with self._came:
            assert self._came.wait_for(found, SECONDS), [span.name for span in self.spans]
            (root,) = found()
            return root, [span for span in self.spans if span.parent_span_id == root.span_id]

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def said(span: Span) -> dict[str, object]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, CountingPFS]]:
    """The address of a PFS, and what it was told."""
    with Daemon(tmp_path_factory.mktemp("pfs"), "--pfs-listen", "127.0.0.1:0") as pfs:
        counting = CountingPFS(pfs.pfs_address.removeprefix("grpc://"))
        server = grpc.server(ThreadPoolExecutor(16), handlers=(counting,), options=OPTIONS)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"grpc://127.0.0.1:{port}", counting
        server.stop(None).wait()
        counting.close()


def traced(address: str, url: str, directory: Path, *options: str) -> Daemon:
    words = ("--pachd", address, "--cache-dir", str(directory / "cache"), "--traces", url, *options)
    return Daemon(directory, *words, environ=ENVIRON)


def test_a_request_and_its_calls(
    backend: tuple[str, CountingPFS], collector: Collector, tmp_path: Path
) -> None:
    address, pfs = backend
    with traced(address, collector.url, tmp_path) as daemon:
        url = daemon.s3_url
        assert ask(url, "PUT", "/master.traced", body=b"").status == 200
        put = ask(url, "PUT", "/master.traced/a/b", body=b"x", headers={"traceparent": CLIENTS})
        missing = ask(url, "GET", "/master.traced/none", token="secret-token")
        assert (put.status, missing.status) == (200, 404)
        root, calls = collector.trace(put.headers["x-amz-request-id"])
        failed, _ = collector.trace(missing.headers["x-amz-request-id"])
        assert ask(url, "GET", "/~/ready").status == 200
    # What is left is sent at the end, and health is no request.
    assert {span.name for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER} == {
        "CreateBucket",
        "PutObject",
        "GetObject",
    }
    assert collector.services == {"pachgw"}
    told = said(root)
    assert (told["aws.s3.bucket"], told["aws.s3.key"]) == ("master.traced", "a/b")
    assert (told["http.response.status_code"], told["client.address"]) == (200, "127.0.0.1")
    # Who sends a traceparent does not choose the trace unless that is asked for.
    assert not root.parent_span_id
    assert root.trace_id.hex() != CLIENTS.split("-")[1]
    assert {span.trace_id for span in calls} == {root.trace_id}
    assert {span.kind for span in calls} == {Span.SPAN_KIND_CLIENT}
    names = [span.name for span in calls]
    assert "PutFile" in names
    for span in calls:
        assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert said(span)["rpc.grpc.status_code"]
    # PFS was told of each, by the span of that very call.
    sent = [metadata["traceparent"] for metadata in pfs.metadata if "traceparent" in metadata]
    for span in calls:
        assert any(parent.startswith(f"00-{span.trace_id.hex()}-{span.span_id.hex()}-") for parent in sent)
    assert (said(failed)["http.response.status_code"], said(failed)["error.type"]) == (404, "NoSuchKey")
    assert "secret-token" not in str(collector.spans)


def test_a_client_that_is_let_go_on_with_its_trace(
    backend: tuple[str, CountingPFS], collector: Collector, tmp_path: Path
) -> None:
    with traced(backend[0], collector.url, tmp_path, "--traces-from-clients", "--workers", "2") as daemon:
        for given, parent in ((CLIENTS, "b7ad6b7169203331"), ("00-nonsense", "")):
            answer = ask(daemon.s3_url, "GET", "/", headers={"traceparent": given})
            root, _ = collector.trace(answer.headers["x-amz-request-id"])
            assert root.parent_span_id.hex() == parent
            assert (root.trace_id.hex() == CLIENTS.split("-")[1]) is bool(parent)


@pytest.mark.long
def test_a_collector_that_is_away_costs_spans_only(backend: tuple[str, CountingPFS], tmp_path: Path) -> None:
    with traced(backend[0], "http://127.0.0.1:1/v1/traces", tmp_path) as daemon:
        assert ask(daemon.s3_url, "GET", "/").status == 200
        daemon.wait_for(r"pachgw\.traces#warn\] traces are lost: ")
        assert ask(daemon.s3_url, "GET", "/").status == 200
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < SECONDS
        assert not [line for line in daemon.log if "Traceback" in line]


def test_nothing_of_it_is_loaded_when_it_is_off() -> None:
    look = (
        "import sys, pachgw.daemon, pachgw.workers.serving, pachgw.workers.__main__;"
        "sys.exit(any(name.startswith('opentelemetry') or name == 'pachgw.tracing' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
