"""`python -m bench [PART ...]` measures, `python -m bench report [FILE ...]` makes the documents of it.

`make bench` measures everything. What was measured is printed as it comes, and kept as JSON in bench/results.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import crowd, data, machine, report, store
from bench.book import Book
from bench.client import Refused
from bench.parts.capacity import capacity
from bench.parts.cpu import cpu
from bench.parts.history import history
from bench.parts.large import large
from bench.parts.listing import listing, million
from bench.parts.objects import parts, records
from bench.parts.small import group, small
from bench.signing import Keys
from bench.stage import KEYS, Stage, scratch
from bench.stand import MIB, Stand
from bench.subjects import endpoint

STAND_PARTS: Mapping[str, Callable[[Stand], None]] = {
    "small": small,
    "group": group,
    "large": large,
    "listing": listing,
    "million": million,
    "parts": parts,
    "records": records,
    "history": history,
    "cpu": cpu,
    "capacity": capacity,
}
"""Measured on the subjects of the command line. Those of OWN_PARTS start what they need."""
OWN_PARTS = ("crowd", "store")
RESULTS = Path(__file__).parent / "results"
MANY = 100_000
QUICK_MANY = 10_000
SETTLE_SECONDS = 2.0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog="The keys of --endpoint are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment.\n"
        "Each round puts the large file anew for each subject: that much of disk, below bench/results.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join([*STAND_PARTS, *OWN_PARTS])}")
    parser.add_argument("--quick", action="store_true", help="less of everything: does it work?")
    parser.add_argument("--rounds", type=int, help="A B A B ... so many times (default 5; 2 if quick)")
    parser.add_argument("--seconds", type=float, help="of one round of a rate (default 3; 0.5 if quick)")
    parser.add_argument(
        "--size", type=int, action="append", help="MiB of the large file (default 1024; may be repeated)"
    )
    parser.add_argument(
        "--workers", type=int, default=machine.cores(), help="of the pachgw that has several (default: cores)"
    )
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="leave a subject out")
    parser.add_argument("--pachd", metavar="ADDRESS", help="a PFS that is there, rather than an embedded one")
    parser.add_argument("--pachd-pid", type=int, action="append", default=[], help="if here")
    parser.add_argument("--endpoint", metavar="URL", help="another S3 endpoint, measured beside the others")
    parser.add_argument("--endpoint-name", default="endpoint", help="in tables")
    parser.add_argument("--endpoint-pid", type=int, action="append", default=[], help="if here")
    parser.add_argument("--region", default=KEYS.region, help=f"that is signed (default {KEYS.region})")
    parser.add_argument(
        "--bucket", default="master.bench", help="BRANCH.REPO that all subjects use (default master.bench)"
    )
    parser.add_argument(
        "--out", type=Path, help="file of the results (default: by the time, in bench/results)"
    )
    options = parser.parse_args(arguments)
    for part in options.parts:
        if part not in STAND_PARTS and part not in OWN_PARTS:
            parser.error(f"no part {part}")
    return options


def _keys(options: argparse.Namespace) -> Keys:
    """The endpoint's."""
    try:
        access, secret = (os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    except KeyError as missing:
        raise SystemExit(f"--endpoint: {missing.args[0]} is not set") from None
    return Keys(access=access, secret=secret, region=options.region)


def _stand(options: argparse.Namespace, book: Book, stage: Stage) -> Stand:
    """Everything started and filled."""
    quick = options.quick
    many = QUICK_MANY if quick else MANY
    print("filling the stores", flush=True)
    data.fill(stage, many)
    # Names by what they are: the documents ask for them.
    subjects = [stage.gateway("pachgw", "--workers", "1")]
    several = f"pachgw x{options.workers}"
    if options.workers > 1 and several not in options.without:
        subjects.append(stage.gateway(several, "--workers", str(options.workers)))
    for one in subjects:
        data.settle(one)
    if "rclone" not in options.without:
        data.write(stage.files, stage.bucket, many)
        rclone = stage.rclone()
        if rclone is None:
            book.note("rclone is left out: it is not installed (pip install 'pachgw[bench]')")
        else:
            subjects.append(rclone)
    if options.endpoint:
        other = endpoint(
            options.endpoint,
            name=options.endpoint_name,
            bucket=options.bucket,
            keys=_keys(options),
            pids=tuple(options.endpoint_pid),
        )
        try:
            data.send(other, many)
        except (OSError, Refused) as error:
            raise SystemExit(f"--endpoint {options.endpoint}: {error}") from None
        subjects.append(other)
    sizes = [mib * MIB for mib in options.size or ([64] if quick else [1024])]
    return Stand(
        book=book,
        stage=stage,
        subjects=subjects,
        quick=quick,
        seconds=options.seconds or (0.5 if quick else 3.0),
        sizes=sizes,
        workers=options.workers,
        many=many,
    )


def _measure(options: argparse.Namespace) -> Path:
    book = Book(
        rounds=options.rounds or (2 if options.quick else 5),
        options={"quick": options.quick, "workers": options.workers, "pfs": options.pachd or "embedded"},
        machine_said=machine.describe(),
    )
    path: Path = options.out or RESULTS / time.strftime("%Y-%m-%d-%H%M%S.json", time.gmtime())
    if options.endpoint:
        _keys(options)
    chosen = options.parts or [*STAND_PARTS, *OWN_PARTS]
    began = time.monotonic()
    book.load["start"] = machine.load_average()
    print(f"load average {book.load['start']}, {machine.cores()} cores", flush=True)
    book.calibrate()

    def done(part: str, seconds: float) -> None:
        book.calibrate()
        book.seconds = time.monotonic() - began
        book.load["end"] = machine.load_average()
        # As far as it got: a run takes long, and the next part may fail.
        book.write(path)
        print(f"-- {part}: {seconds:.0f} s", flush=True)

    on_stand = [part for part in chosen if part in STAND_PARTS]
    if on_stand:
        with scratch() as directory:
            given = {"pachd": options.pachd, "pachd_pids": tuple(options.pachd_pid)}
            with Stage(Path(directory), bucket=options.bucket, **given) as stage:
                stand = _stand(options, book, stage)
                for part in on_stand:
                    print(f"== {part}", flush=True)
                    time.sleep(SETTLE_SECONDS)
                    before = time.monotonic()
                    STAND_PARTS[part](stand)
                    done(part, time.monotonic() - before)
    for part in (part for part in chosen if part in OWN_PARTS):
        print(f"== {part}", flush=True)
        before = time.monotonic()
        with scratch() as directory:
            if part == "crowd":
                crowd.run(book, Path(directory), quick=options.quick)
            else:
                size = (64 if options.quick else 1024) * MIB
                store.run(book, Path(directory), quick=options.quick, size=size)
        done(part, time.monotonic() - before)
    print(f"{book.seconds:.0f} s; load average {book.load['end']}; results in {path}", flush=True)
    for note in [*book.doubts(), *book.notes]:
        print(f"! {note}")
    return path


def main(arguments: Sequence[str]) -> None:
    if arguments[:1] == ["report"]:
        report.main(arguments[1:])
    else:
        RESULTS.mkdir(exist_ok=True)
        _measure(_options(arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
