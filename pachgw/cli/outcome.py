"""What a command hands back to the shell: exit statuses, refusals, tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

FINE: Final = 0
PROBLEMS: Final = 1
"""Something was found wrong, or what was asked for was refused."""
WRONG_USE: Final = 2
INTERRUPTED: Final = 130


class Refused(Exception):
    """The command cannot do what it was asked for; the text is one clear line."""


def print_json(value: Any) -> None:
    """One line of JSON, keys in their order."""
    print(json.dumps(value, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns with two spaces or more between them; the head also where there are no rows."""
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
