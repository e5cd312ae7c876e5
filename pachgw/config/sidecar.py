"""The buckets of a sidecar, NAME=REPO@COMMIT, as values. Whether there is such a thing nobody asks here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from pachgw.config.endpoints import is_local
from pachgw.config.sources import Given
from pachgw.config.values import ConfigError, SidecarBucket

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")
_REPO = re.compile(r"[A-Za-z0-9_-]{1,255}")
_RESERVED = "_s3_"
"""How the branches begin that the gateway keeps for itself."""


def sidecar_buckets(
    given: Mapping[str, Given], endpoints: Sequence[str], *, open_to_all: bool
) -> tuple[tuple[SidecarBucket, ...], SidecarBucket | None, bool]:
    """The inputs, the output, and whether that is readable; nothing where the gateway is no sidecar.

    `open_to_all`: others than this machine may come without showing who they are. Raises ConfigError.
    """
    inputs = tuple(_buckets(given.get("inputs"), allowed="NAME=REPO@COMMIT or NAME=REPO@BRANCH"))
    outputs = tuple(_buckets(given.get("output"), allowed="one NAME=REPO@BRANCH or NAME=REPO@COMMIT"))
    readable = given.get("output-readable")
    if len(outputs) > 1:
        raise ConfigError(f"{given['output'].source}: there is one output at the most")
    output = outputs[0] if outputs else None
    if readable is not None and readable.value and output is None:
        raise ConfigError(f"{readable.source}: needs --output as well")
    seen: set[str] = set()
    for name, bucket in (
        *(("inputs", bucket) for bucket in inputs),
        *(("output", bucket) for bucket in outputs),
    ):
        if bucket.name in seen:
            raise ConfigError(f"{given[name].source} {bucket.name}: another bucket has this name already")
        seen.add(bucket.name)
    if seen:
        _check_others(given, endpoints, open_to_all=open_to_all)
    return inputs, output, readable is not None and bool(readable.value)


def _check_others(given: Mapping[str, Given], endpoints: Sequence[str], *, open_to_all: bool) -> None:
    """What does not go with a sidecar, whose clients are not asked who they are."""
    said = given["inputs"] if "inputs" in given else given["output"]
    if (keys := given.get("access-keys")) is not None:
        raise ConfigError(
            f"{keys.source}: not together with {said.source}, for which any equal pair of keys is good"
        )
    everybody = next((endpoint for endpoint in endpoints if not is_local(endpoint)), None)
    if everybody is not None and not open_to_all:
        raise ConfigError(
            f"{said.source}: whoever reaches {everybody} would act with the gateway's own token; listen on a"
            " loopback address or a unix socket, or add --serve-without-auth"
        )


def _buckets(setting: Given | None, *, allowed: str) -> Iterable[SidecarBucket]:
    if setting is None:
        return
    values = setting.value if isinstance(setting.value, tuple) else (str(setting.value),)
    for value in values:
        for text in value.split(","):
            yield _bucket(text.strip(), source=setting.source, allowed=allowed)


def _bucket(text: str, *, source: str, allowed: str) -> SidecarBucket:
    name, _, place = text.partition("=")
    repo, _, commit = place.partition("@")
    if not (_NAME.fullmatch(name) and _REPO.fullmatch(repo) and _REPO.fullmatch(commit)):
        raise ConfigError(f"{source} {text}: allowed is {allowed}")
    if commit.startswith(_RESERVED):
        raise ConfigError(f"{source} {text}: branches that begin with {_RESERVED} are the gateway's own")
    return SidecarBucket(name=name, repo=repo, commit=commit)
