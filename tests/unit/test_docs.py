"""What the documents say that can be checked: keys and paths, the tokens file, tests and links they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pachgw.localpfs.tokensfile import parse_tokens
from pachgw.s3.gateway import ACTIONS
from pachgw.s3.keys import decode_path, encode_key, representable

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"


def _text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_table_of_keys_is_what_the_codec_does() -> None:
    rows = re.findall(r"^\| `(.+?)` \| `(/.*?)` \| (taken|refused) \|", _text("keys.md"), re.MULTILINE)
    assert len(rows) > 20
    for key, path, strict in rows:
        assert encode_key(key) == path, key
        assert decode_path(path) == key
        assert strict == ("taken" if representable(key) else "refused"), key


def test_the_tokens_file_is_one() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", _text("auth.md"), re.DOTALL)
    file = parse_tokens(example)
    assert [token.subject for token in file.tokens] == ["robot:ingest", "github:alice", "pach:root"]
    assert file.roles == (("pach:root", "SUPER"),)
    assert ("results", "allClusterUsers", "READER") in file.scopes


def test_the_list_of_actions_is_whole() -> None:
    rows = dict(re.findall(r"^\| ([A-Z]\w+) \| (yes|partly|not yet)\b.*::", _text("s3.md"), re.MULTILINE))
    assert {name for name, state in rows.items() if state != "not yet"} == {str(action) for action in ACTIONS}


def test_the_tests_that_are_named_exist() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", _text("s3.md"))
    assert named
    for file, name in named:
        path = PROJECT / "tests" / (file if file.startswith("unit/") else f"integration/{file}")
        assert f"def {name}(" in path.read_text(encoding="utf-8"), name


@pytest.mark.parametrize("path", [PROJECT / "README.md", *DOCS.rglob("*.md")], ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        linked = path.parent / file if file else path
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}
            assert anchor in slugs, target
