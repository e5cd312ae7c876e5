"""What the documents say that can be checked: keys and paths, files of options, actions, tests, links."""

from __future__ import annotations

import re
from pathlib import Path

import botocore.session
import pytest

from pachgw.localpfs.tokensfile import parse_tokens
from pachgw.s3.auth.keyring import parse_keyring
from pachgw.s3.auth.permits import EVERYTHING, Permit
from pachgw.s3.cors import parse_cors
from pachgw.s3.errors import S3Error
from pachgw.s3.gateway import ACTIONS
from pachgw.s3.keys import decode_path, encode_key, representable
from pachgw.s3.request.operation import choose_operation
from pachgw.s3.request.target import parse_target

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


def test_the_file_of_access_keys_is_one() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", _text("security.md"), re.DOTALL)
    keyring = parse_keyring(example, only=True)
    assert len(keyring) == 2
    ingest, dashboard = (keyring.identity_of(name) for name in ("ingest", "dashboard"))
    assert ingest is not None
    assert ingest.token
    assert ingest.permit == EVERYTHING
    assert dashboard is not None
    assert dashboard.permit == Permit(buckets=("master.images", "*.logs-*"), read_only=True)


def _actions() -> dict[str, str]:
    """Yes, partly or no for each action of the table."""
    rows = re.findall(
        r"^\| ([A-Z]\w+) \| (yes|partly|no)\b[^|]*\| `[^`]+::\w+` \|$",
        _text("s3-compatibility.md"),
        re.MULTILINE,
    )
    assert len(rows) == len(dict(rows)) == _text("s3-compatibility.md").count("::")
    return dict(rows)


SDK = botocore.session.get_session().get_service_model("s3")
# Answered before an action is chosen.
PREFLIGHT = "OptionsObject"
SHARED = {
    "ListDirectoryBuckets": "ListBuckets",
    "WriteGetObjectResponse": "PostObject",
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
}


def _chosen(operation: str) -> str:
    """The action that the SDK's request for an operation is to the gateway."""
    model = SDK.operation_model(operation)
    uri = model.http["requestUri"].replace("{Bucket}", "b").replace("{Key+}", "k")
    members = model.input_shape.members if model.input_shape else {}
    for name in model.input_shape.required_members if model.input_shape else ():
        said = members[name].serialization
        if said.get("location") == "querystring" and said["name"] not in uri:
            uri += f"{'&' if '?' in uri else '?'}{said['name']}=1"
    headers = {"x-amz-copy-source": "/b/k"} if "CopySource" in members else {}
    return str(choose_operation(model.http["method"], parse_target(uri.encode()), headers.get))


def test_the_list_of_actions_is_whole() -> None:
    actions = _actions()
    assert set(actions) == {*SDK.operation_names, "PostObject", PREFLIGHT}
    there = {name for name, state in actions.items() if state != "no"} - {PREFLIGHT, *SHARED}
    assert there == {str(action) for action in ACTIONS}


def test_what_is_there_is_what_the_sdk_asks_for() -> None:
    for name, state in _actions().items():
        if state != "no" and name not in {"PostObject", PREFLIGHT, *SHARED}:
            assert _chosen(name) == name


def test_what_is_not_there_is_refused() -> None:
    for name, state in _actions().items():
        if state == "no" and name not in SHARED:
            with pytest.raises(S3Error) as caught:
                _chosen(name)
            assert caught.value.code == "NotImplemented", name


def test_requests_that_two_actions_share() -> None:
    assert {name: _chosen(name) for name in SHARED} == SHARED


def test_the_tests_that_are_named_exist() -> None:
    named = [
        found
        for document in ("s3.md", "s3-compatibility.md")
        for found in re.findall(r"`([\w/]+\.py)::(\w+)`", _text(document))
    ]
    assert named
    for file, name in set(named):
        path = PROJECT / "tests" / (file if file.startswith("unit/") else f"integration/{file}")
        assert f"def {name}(" in path.read_text(encoding="utf-8"), f"{file}::{name}"


def test_the_rules_for_web_pages_are_rules() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", _text("s3.md"), re.DOTALL)
    (rule,) = parse_cors(example).rules_of("images")
    assert rule.allowed_origins == ("https://app.example.com",)


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
