"""Properties of CORS: a pattern is what it says, and a rule never allows more than its patterns."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from pachgw.messages import RequestHead
from pachgw.s3.cors import METHODS, Cors, CorsRule, fits
from pachgw.s3.errors import S3Error
from pachgw.s3.request.target import parse_target

SHORT = st.text("ab.*", max_size=6)
ORIGINS = st.text("ab.:/", min_size=1, max_size=8)
PATTERNS = st.text("ab.:/*", min_size=1, max_size=8).filter(lambda text: text.count("*") < 2)
NAMES = st.text("abX-", min_size=1, max_size=5)
RULES = st.builds(
    CorsRule,
    allowed_origins=st.lists(PATTERNS, min_size=1, max_size=3).map(tuple),
    allowed_methods=st.lists(st.sampled_from(METHODS), min_size=1, max_size=3).map(tuple),
    allowed_headers=st.lists(st.text("abX-*", min_size=1, max_size=4), max_size=3).map(
        lambda texts: tuple(text for text in texts if text.count("*") < 2)
    ),
)
TARGET = parse_target(b"/b/k")


def as_expression(pattern: str, *, flags: int = 0) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL | flags)


@given(PATTERNS, SHORT)
def test_a_star_stands_for_anything(pattern: str, text: str) -> None:
    assert fits(pattern, text) == (as_expression(pattern).fullmatch(text) is not None)


def allowed_by(rule: CorsRule, origin: str, method: str, names: list[str]) -> bool:
    return (
        any(as_expression(pattern).fullmatch(origin) for pattern in rule.allowed_origins)
        and method in rule.allowed_methods
        and all(
            any(
                as_expression(pattern, flags=re.IGNORECASE).fullmatch(name)
                for pattern in rule.allowed_headers
            )
            for name in names
        )
    )


@given(st.lists(RULES, max_size=4), ORIGINS, st.sampled_from(METHODS), st.lists(NAMES, max_size=3))
def test_a_preflight_is_allowed_by_a_rule_and_by_nothing_else(
    rules: list[CorsRule], origin: str, method: str, names: list[str]
) -> None:
    headers = [
        (b"origin", origin.encode()),
        (b"access-control-request-method", method.encode()),
        (b"access-control-request-headers", ",".join(names).encode()),
    ]
    head = RequestHead(method="OPTIONS", raw_uri=b"/b/k", headers=tuple(headers))
    expected = any(allowed_by(rule, origin, method, names) for rule in rules)
    try:
        answer = dict(Cors(rules).preflight(head, TARGET).headers)
    except S3Error as error:
        assert error.code == "AccessForbidden"
        assert not expected
    else:
        assert expected
        assert answer["Access-Control-Allow-Origin"] in ("*", origin)
        # Whoever may send cookies is named.
        credentials = "Access-Control-Allow-Credentials" in answer
        assert credentials == (answer["Access-Control-Allow-Origin"] == origin != "*")
        # And the actual request gets the same origin, whatever its headers.
        actual = RequestHead(method=method, raw_uri=b"/b/k", headers=((b"origin", origin.encode()),))
        assert "Access-Control-Allow-Origin" in dict(Cors(rules).headers_for(actual, TARGET))
