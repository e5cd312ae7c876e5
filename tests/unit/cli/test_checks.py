"""What the checks of `pachgw doctor` make of what they see: pure judgements, and their deadline."""

from __future__ import annotations

import resource
import threading
from pathlib import Path

import pytest

from pachgw.cli.checks.finding import Outcome, ok, warning, within
from pachgw.cli.checks.machine import Sighting, judge_files, judge_sighting
from pachgw.cli.checks.mounts import Mount, judge, mount_of, parse, space
from pachgw.config.endpoints import place_of

GIB = 1 << 30

MOUNTS = r"""
22 1 0:20 / / rw,relatime shared:1 - overlay overlay rw,lowerdir=/a - b
30 22 8:1 / /data rw,relatime shared:2 master:7 - ext4 /dev/sda1 rw
31 30 0:40 / /data/with\040space rw - nfs4 server:/export rw,vers=4.2
32 22 0:41 / /data2 rw - tmpfs tmpfs rw
33 22 8:2 / /data rw - xfs /dev/sdb1 rw
no mount at all
""".strip()


@pytest.mark.parametrize(
    ("path", "point", "kind"),
    [
        ("/", "/", "overlay"),
        ("/home/x", "/", "overlay"),
        ("/data", "/data", "xfs"),
        ("/data/x", "/data", "xfs"),
        ("/data/with space/deep", "/data/with space", "nfs4"),
        ("/data2", "/data2", "tmpfs"),
        ("/data22", "/", "overlay"),
    ],
)
def test_where_a_path_lies(path: str, point: str, kind: str) -> None:
    assert mount_of(path, parse(MOUNTS)) == Mount(point=point, kind=kind)


def test_nothing_is_said_of_a_path_without_a_mount() -> None:
    assert mount_of("/data", []) is None


@pytest.mark.parametrize(
    ("kind", "data", "cache"),
    [
        ("ext4", Outcome.OK, Outcome.OK),
        ("tmpfs", Outcome.WARNING, Outcome.OK),
        ("overlay", Outcome.WARNING, Outcome.OK),
        ("nfs4", Outcome.PROBLEM, Outcome.WARNING),
        ("cifs", Outcome.PROBLEM, Outcome.WARNING),
        ("fuse.sshfs", Outcome.WARNING, Outcome.WARNING),
    ],
)
def test_file_systems(kind: str, data: Outcome, cache: Outcome) -> None:
    mount = Mount(point="/m", kind=kind)
    assert judge("d", mount, durable=True).outcome is data
    assert judge("d", mount, durable=False).outcome is cache


@pytest.mark.parametrize(
    ("free", "size", "free_inodes", "inodes", "outcomes"),
    [
        (50 * GIB, 100 * GIB, 90, 100, ["ok"]),
        (50 * GIB, 100 * GIB, 0, 0, ["ok"]),
        (GIB - 1, 2 * GIB, 90, 100, ["warning"]),
        (4 * GIB, 100 * GIB, 90, 100, ["warning"]),
        (0, 100 * GIB, 90, 100, ["problem"]),
        (50 * GIB, 100 * GIB, 4, 100, ["ok", "warning"]),
        (50 * GIB, 100 * GIB, 0, 100, ["ok", "problem"]),
    ],
)
def test_space(free: int, size: int, free_inodes: int, inodes: int, outcomes: list[str]) -> None:
    findings = space("d", free=free, size=size, free_inodes=free_inodes, inodes=inodes)
    assert [finding.outcome for finding in findings] == outcomes
    assert all(finding.advice for finding in findings if finding.outcome != "ok")


@pytest.mark.parametrize(
    ("ahead", "outcome"),
    [(0.0, "ok"), (-59, "ok"), (60, "warning"), (-899, "warning"), (900, "problem"), (-86400, "problem")],
)
def test_clocks_that_differ(ahead: float, outcome: str) -> None:
    finding = judge_sighting(Sighting(who="x", ahead_seconds=ahead))
    assert finding.outcome == outcome
    if outcome != "ok":
        assert ("ahead of" if ahead > 0 else "behind") in finding.found


def test_open_files() -> None:
    assert judge_files(resource.RLIM_INFINITY, 4608).outcome is Outcome.OK
    assert judge_files(4608, 4608).outcome is Outcome.OK
    few = judge_files(1024, 4608)
    assert few.outcome is Outcome.WARNING
    assert "LimitNOFILE=4608" in few.advice


@pytest.mark.parametrize(
    ("description", "place"),
    [
        ("tcp:80", ("", 80)),
        ("tcp:80:interface=10.0.0.1", ("10.0.0.1", 80)),
        ("tcp:80:127.0.0.1", ("127.0.0.1", 80)),
        ("tcp:port=80", ("", 80)),
        ("tls:443:interface=\\:\\:1", ("::1", 443)),
        ("tcp6:80", ("::", 80)),
        ("haproxy:tcp:80", ("", 80)),
        ("unix:/run/s3.sock:mode=660", Path("/run/s3.sock")),
        ("unix:address=/run/s3.sock", Path("/run/s3.sock")),
        ("systemd:domain=INET:index=0", None),
    ],
)
def test_where_an_endpoint_is(description: str, place: object) -> None:
    assert place_of(description) == place


def test_a_check_that_hangs_is_left_behind() -> None:
    forever = threading.Event()

    def hang() -> list[object]:
        forever.wait()
        return []

    (finding,) = within("d", hang, seconds=0.05)
    forever.set()
    assert (finding.name, finding.outcome) == ("d", Outcome.PROBLEM)
    assert "0.05 s" in finding.found


def test_what_a_check_raises_is_raised() -> None:
    def fail() -> list[object]:
        raise LookupError

    with pytest.raises(LookupError):
        within("d", fail)


def test_findings_are_one_line_that_a_terminal_shows_as_it_is() -> None:
    assert ok("n", "a\n  b\x1b[31mc").found == "a b?[31mc"
    assert len(warning("n", "x" * 10_000, "y").found) == 500
