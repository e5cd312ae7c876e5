"""Cross-origin requests: the rules of the configuration, which one fits, and the headers that follow from it.

Pure; the file is read by whoever calls parse_cors. Source: Amazon S3 user guide, "Using cross-origin resource
sharing (CORS)"; API reference, "OPTIONS object", "PutBucketCors"; the Fetch standard for what browsers ask.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pachgw.messages import RequestHead, Response
from pachgw.s3.errors import S3Error
from pachgw.s3.names import BucketRef, parse_bucket
from pachgw.s3.request.target import Target

METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")
"""What a rule can allow; S3 has no others."""
MAX_RULES = 100
MAX_ID_CHARACTERS = 255

_VARY = ("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
_HEADER_PATTERN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What a header of an answer can hold, without white space.
_ORIGIN = re.compile(r"[!-~]+")


class CorsError(ValueError):
    """The file of the rules is not one; the text is one line that says what and where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsRule:
    """One CORSRule of S3, for some buckets or for everything."""

    allowed_origins: tuple[str, ...]
    """Each with at most one `*`, which stands for any characters."""
    allowed_methods: tuple[str, ...]
    allowed_headers: tuple[str, ...] = ()
    """As the origins, whatever their case."""
    expose_headers: tuple[str, ...] = ()
    max_age_seconds: int | None = None
    id: str = ""
    buckets: frozenset[tuple[str, str]] | None = None
    """Repo and branch of each; None: every bucket, and the service."""

    def origin_for(self, origin: str) -> str | None:
        """What Access-Control-Allow-Origin is to say, None where the rule is not for the origin."""
        for pattern in self.allowed_origins:
            if fits(pattern, origin):
                return "*" if pattern == "*" else origin
        return None

    def allows_headers(self, names: Iterable[str]) -> bool:
        """Whether each of the headers is allowed."""
        patterns = [pattern.lower() for pattern in self.allowed_headers]
        return all(any(fits(pattern, name.lower()) for pattern in patterns) for name in names)


def fits(pattern: str, text: str) -> bool:
    """Whether the text is the pattern, of which a `*` stands for any characters, none too."""
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == text
    return len(text) >= len(before) + len(after) and text.startswith(before) and text.endswith(after)


class Cors:
    """The rules of a gateway."""

    def __init__(self, rules: Iterable[CorsRule] = ()) -> None:
        self._rules = tuple(rules)

    def rules_of(self, bucket: str | None) -> tuple[CorsRule, ...]:
        """The rules for a bucket by its name, None: for the service. A commit has those of the branch that
        its name speaks of. Of a name that no bucket can have: none.
        """
        if not self._rules:
            return ()
        branch: tuple[str, str] | None = None
        if bucket is not None:
            try:
                branch = _branch_of(parse_bucket(bucket))
            except S3Error:
                return ()
        return tuple(rule for rule in self._rules if rule.buckets is None or branch in rule.buckets)

    def preflight(self, head: RequestHead, target: Target) -> Response:
        """The answer to OPTIONS: whether a browser may send the request that it asks about.

        Nothing is asked of PFS, and nobody has to be known. Raises BadRequest for what is no preflight
        request, AccessForbidden where no rule fits.
        """
        origin = head.header("origin")
        if not origin:
            raise S3Error("BadRequest", "Insufficient information. Origin request header needed.")
        method = head.header("access-control-request-method") or ""
        if method not in METHODS:
            raise S3Error("BadRequest", f"Invalid Access-Control-Request-Method: {method or 'null'}")
        asked = head.header("access-control-request-headers") or ""
        names = [name.strip() for name in asked.split(",") if name.strip()]
        rules = self.rules_of(target.bucket)
        for rule in rules:
            allowed = rule.origin_for(origin)
            if allowed is not None and method in rule.allowed_methods and rule.allows_headers(names):
                headers = _headers(rule, allowed)
                if names:
                    headers["Access-Control-Allow-Headers"] = ", ".join(name.lower() for name in names)
                return Response(status=200, headers=(*headers.items(), _VARY))
        raise S3Error(
            "AccessForbidden",
            "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of"
            " Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are"
            " not whitelisted by the resource's CORS spec."
            if rules
            else "CORSResponse: CORS is not enabled for this bucket.",
            headers=(_VARY,) if rules else (),
            Method=method,
            ResourceType="BUCKET" if target.key is None else "OBJECT",
        )

    def headers_for(self, head: RequestHead, target: Target | None) -> tuple[tuple[str, str], ...]:
        """What the answer to an actual request has more, whatever it is; for OPTIONS nothing.

        Where there are rules a cache has to know that the answer depends on who asks, also if nobody did.
        """
        rules = self.rules_of(target.bucket) if target is not None else ()
        if not rules or head.method == "OPTIONS":
            return ()
        found = _rule_for(rules, head)
        return (_VARY,) if found is None else (*_headers(*found).items(), _VARY)

    def allows(self, origin: str, method: str, target: Target) -> bool:
        """Whether a rule for what the request is about allows the origin the method."""
        return any(
            method in rule.allowed_methods and rule.origin_for(origin) is not None
            for rule in self.rules_of(target.bucket)
        )

    def __bool__(self) -> bool:
        """Whether there are rules at all."""
        return bool(self._rules)


def _rule_for(rules: Iterable[CorsRule], head: RequestHead) -> tuple[CorsRule, str] | None:
    """The first rule for the origin and method of an actual request, and what it says of the origin."""
    if origin := head.header("origin"):
        for rule in rules:
            allowed = rule.origin_for(origin)
            if allowed is not None and head.method in rule.allowed_methods:
                return rule, allowed
    return None


def _headers(rule: CorsRule, allowed_origin: str) -> dict[str, str]:
    headers = {
        "Access-Control-Allow-Origin": allowed_origin,
        "Access-Control-Allow-Methods": ", ".join(rule.allowed_methods),
    }
    if allowed_origin != "*":
        headers["Access-Control-Allow-Credentials"] = "true"
    if rule.expose_headers:
        headers["Access-Control-Expose-Headers"] = ", ".join(rule.expose_headers)
    if rule.max_age_seconds is not None:
        headers["Access-Control-Max-Age"] = str(rule.max_age_seconds)
    return headers


def _branch_of(ref: BucketRef) -> tuple[str, str]:
    return ref.repo, ref.branch


def parse_cors(text: str) -> Cors:
    """The rules of a TOML file, tables `[[rule]]` in their order. Raises CorsError."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CorsError(f"not TOML: {error}") from None
    if unknown := sorted(content.keys() - {"rule"}):
        raise CorsError(f"unknown key {unknown[0]}; there are only tables [[rule]]")
    tables = content.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise CorsError("rule: has to be tables, [[rule]]")
    if len(tables) > MAX_RULES:
        raise CorsError(f"more than {MAX_RULES} rules")
    return Cors(_rule(table, f"rule {number}") for number, table in enumerate(tables, 1))


_KEYS = {
    "allowed_origins",
    "allowed_methods",
    "allowed_headers",
    "expose_headers",
    "max_age_seconds",
    "id",
    "buckets",
}


def _rule(table: Mapping[str, Any], where: str) -> CorsRule:
    if unknown := sorted(table.keys() - _KEYS):
        raise CorsError(f"{where}: unknown key {unknown[0]}; there are {', '.join(sorted(_KEYS))}")
    origins = _texts(table, "allowed_origins", where)
    methods = _texts(table, "allowed_methods", where)
    headers = _texts(table, "allowed_headers", where)
    exposed = _texts(table, "expose_headers", where)
    if not origins or not methods:
        raise CorsError(f"{where}: allowed_origins and allowed_methods are needed")
    for name, patterns, allowed in (
        ("allowed_origins", origins, _ORIGIN),
        ("allowed_headers", headers, _HEADER_PATTERN),
    ):
        for pattern in patterns:
            if pattern.count("*") > 1 or not allowed.fullmatch(pattern):
                raise CorsError(f"{where}: {name}: {pattern!r} is none; one * in it stands for anything")
    for method in methods:
        if method not in METHODS:
            raise CorsError(f"{where}: allowed_methods: {method!r} is none of {', '.join(METHODS)}")
    for header in exposed:
        if not _HEADER_PATTERN.fullmatch(header) or "*" in header:
            raise CorsError(f"{where}: expose_headers: {header!r} is no header's name")
    return CorsRule(
        allowed_origins=origins,
        allowed_methods=methods,
        allowed_headers=headers,
        expose_headers=exposed,
        max_age_seconds=_max_age(table, where),
        id=_id(table, where),
        buckets=_buckets(table, where),
    )


def _texts(table: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    texts = table.get(name, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise CorsError(f"{where}: {name}: has to be a list of texts")
    return tuple(texts)


def _max_age(table: Mapping[str, Any], where: str) -> int | None:
    seconds = table.get("max_age_seconds")
    # True is an int to Python.
    if seconds is not None and (type(seconds) is not int or not 0 <= seconds < 2**31):
        raise CorsError(f"{where}: max_age_seconds: has to be a number of seconds")
    return seconds


def _id(table: Mapping[str, Any], where: str) -> str:
    name = table.get("id", "")
    if not isinstance(name, str) or len(name) > MAX_ID_CHARACTERS:
        raise CorsError(f"{where}: id: has to be a text of at most {MAX_ID_CHARACTERS} characters")
    return name


def _buckets(table: Mapping[str, Any], where: str) -> frozenset[tuple[str, str]] | None:
    if "buckets" not in table:
        return None
    found = set()
    for name in _texts(table, "buckets", where):
        try:
            ref = parse_bucket(name)
        except S3Error:
            raise CorsError(f"{where}: buckets: {name!r} is no name of a bucket") from None
        if ref.commit is not None:
            raise CorsError(f"{where}: buckets: {name!r} is one commit; name its branch")
        found.add(_branch_of(ref))
    return frozenset(found)
