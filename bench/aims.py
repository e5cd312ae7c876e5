"""What is aimed at, as comparisons of series of one run, and whether it is met."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bench.book import Book, Series
from bench.stats import Spread, ratios, spread
from bench.subjects import BARE

RCLONE = "rclone"
GATEWAY = "pachgw"


def default_gateway(book: Book) -> str:
    """The subject that is pachgw as it starts by default: with a process for each core."""
    names = dict.fromkeys(one.subject for one in book.series.values())
    several = [name for name in names if re.fullmatch(rf"{GATEWAY} x\d+", name)]
    return several[0] if several else GATEWAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A ratio, or a figure where nothing is beside it, and its limit."""

    text: str
    part: str
    cases: str
    """A regular expression for whole names of cases: each of them has to meet it."""
    limit: float
    at_most: bool = False
    above: bool = False
    """Whether the limit itself is not enough."""
    against: str = BARE
    """The subject beside it, empty for the same one."""
    beside: str = ""
    """What `cases` matches, replaced by this, is the case beside it; empty for the same case."""
    alone: bool = False
    """Whether the figure itself is limited, not a ratio."""
    unit: str = ""


AIMS: Sequence[Aim] = (
    Aim(
        text="GET of a large object, over the bare client",
        part="large",
        cases=r"GET [\d.]+ [MG]iB",
        limit=0.8,
    ),
    Aim(
        text="PUT of a large object, over the bare client",
        part="large",
        cases=r"PUT [\d.]+ [MG]iB",
        limit=0.8,
    ),
    Aim(
        text="GET of a large object, over `rclone serve s3`",
        part="large",
        cases=r"GET [\d.]+ [MG]iB",
        limit=1,
        above=True,
        against=RCLONE,
    ),
    Aim(
        text="PUT of a large object, over `rclone serve s3`",
        part="large",
        cases=r"PUT [\d.]+ [MG]iB",
        limit=1,
        above=True,
        against=RCLONE,
    ),
    Aim(
        text="growth of memory, whatever the size",
        part="large",
        cases=r".* growth",
        limit=32,
        at_most=True,
        alone=True,
        unit="MiB",
    ),
    Aim(text="HEAD, over the bare client", part="small", cases=r"HEAD, .*", limit=0.6),
    Aim(text="GET of 1 KiB, over the bare client", part="small", cases=r"GET 1 KiB first, .*", limit=0.6),
    Aim(
        text="GET of 1 KiB again, over the bare client",
        part="small",
        cases=r"GET 1 KiB again, .*",
        limit=1,
        above=True,
    ),
    Aim(
        text="64 writers on one branch, over a lone one",
        part="group",
        cases=r"64 writers",
        limit=10,
        against="",
        beside="1 writer",
    ),
    Aim(
        text="the last page of a listing, over page 2",
        part="listing",
        cases=r"(.*): page (?!1$|2$)\d+",
        limit=1.2,
        at_most=True,
        against="",
        beside=r"\1: page 2",
    ),
    Aim(
        text="a listing in all, over reading the directory for each page",
        part="listing",
        cases=r".*: all",
        limit=1 / 3,
        at_most=True,
    ),
    Aim(
        text="p99 of small requests in a crowd, over an idle gateway",
        part="crowd",
        cases=r"(.*), p99 in the crowd",
        limit=3,
        at_most=True,
        against="",
        beside=r"\1, p99 alone",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An aim's figures by case, and whether all meet it."""

    aim: Aim
    figures: dict[str, Spread]
    met: bool


def compared(ours: Series, theirs: Series) -> Spread:
    """Ours over theirs: round by round where the rounds are the same, else of the medians."""
    if len(ours.values) == len(theirs.values):
        return ratios(ours.values, theirs.values)
    whole = spread(ours.values).median / spread(theirs.values).median
    return Spread(median=whole, low=whole, high=whole)


def judge(book: Book, aim: Aim) -> Verdict | None:
    """What the book has to say of the aim, of pachgw by default; None where it has nothing."""
    subject = default_gateway(book)
    if not any(one.subject == subject for one in book.of_part(aim.part)):
        subject = GATEWAY
    figures: dict[str, Spread] = {}
    for one in book.of_part(aim.part):
        found = re.fullmatch(aim.cases, one.case)
        if found is None or one.subject != subject:
            continue
        if aim.alone:
            figures[one.case] = spread(one.values)
            continue
        case = found.expand(aim.beside) if aim.beside else one.case
        theirs = book.get(aim.part, case, aim.against or subject)
        if theirs is not None and all(theirs.values):
            figures[one.case] = compared(one, theirs)
    if not figures:
        return None
    met = all(_meets(aim, figure.median) for figure in figures.values())
    return Verdict(aim=aim, figures=figures, met=met)


def _meets(aim: Aim, figure: float) -> bool:
    if aim.at_most:
        return figure <= aim.limit
    return figure > aim.limit if aim.above else figure >= aim.limit
