"""docs/configuration.md against the table of settings: every setting is there, as it is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from pachgw.config import SETTINGS, Flag, Setting, Texts
from pachgw.config.settings import Choice, Number, Text
from pachgw.config.sources import gather

FILE = Path(__file__).parents[2] / "docs" / "configuration.md"
PAGE = FILE.read_text(encoding="utf-8")
ROWS = re.compile(r"(?:^\| `[a-z0-9-]+` \|.*\|\n)+", re.MULTILINE)
HELP = re.compile(r"(?P<what>.+?)(?: \[default: (?P<default>.+)\])?", re.DOTALL)


def values(setting: Setting) -> str:
    """What is allowed, in words."""
    match setting.kind:
        case Text(example=example):
            return example
        case Texts(example=example):
            return f"{example}; a list"
        case Number(low=low, high=high, unit=unit, zero=zero):
            also = f", 0: {zero}" if zero else ""
            return f"{low} to {high}{'' if unit == 'numbers' else f' {unit}'}{also}"
        case Choice(values=allowed):
            return ", ".join(f"`{value}`" for value in allowed)
        case Flag():
            return "`true`, `false`"
    raise AssertionError(f"{setting.name}: say here how values of a {type(setting.kind).__name__} are told")


def row(setting: Setting) -> str:
    """The setting's line of the table."""
    told = HELP.fullmatch(setting.help)
    assert told is not None
    variables = "<br>".join(f"`{name}`" for name in setting.environ)
    default = told["default"] or ("off" if isinstance(setting.kind, Flag) else "none")
    return f"| `{setting.name}` | {told['what']} | {values(setting)} | {default} | {variables} |"


def table() -> str:
    return "".join(f"{row(setting)}\n" for setting in SETTINGS)


def test_the_table_is_that_of_the_settings() -> None:
    (found,) = ROWS.findall(PAGE)
    assert found == table(), f"`python {Path(__file__).relative_to(FILE.parents[1])}` writes the table anew"


def test_the_example_is_a_file_of_settings(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    whole = re.sub(r"^# (?=[a-z-]+ = )", "", example, flags=re.MULTILINE)
    assert whole != example
    for name, text in (("as-it-is", example), ("whole", whole)):
        file = tmp_path / name
        file.write_text(text)
        given = gather({}, {}, str(file))
        assert set(given) == set(tomllib.loads(text))


if __name__ == "__main__":
    FILE.write_text(ROWS.sub(lambda _: table(), PAGE), encoding="utf-8")
