"""What is configured; and where it cannot be, which setting it fails for and what is left to look at."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pachgw.cli.checks.finding import Finding, ok, problem
from pachgw.config import SETTINGS, Cluster, Config, ConfigError
from pachgw.config.load import build
from pachgw.config.sources import Given, gather

BACKEND = frozenset(("pachd", "pachd-ca", "state-dir"))
"""Without these it is another PFS, or another way to it, than the one that was meant."""


LISTENERS = frozenset(("listen", "tls-certificate", "tls-key"))
"""A listener with TLS needs all three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    config: Config | None
    """None where nothing can be looked at without it."""
    given: Mapping[str, Given]
    without: frozenset[str]
    """Settings that were left out, since they are wrong."""
    findings: tuple[Finding, ...]

    @property
    def has_backend(self) -> bool:
        return self.config is not None and not self.without & BACKEND

    @property
    def has_listeners(self) -> bool:
        return self.config is not None and "listen" not in self.without


def check_settings(
    environ: Mapping[str, str], options: Mapping[str, object], config_file: str | None
) -> Found:
    """The configuration as the daemon would have it, else all of it but one wrong setting."""
    try:
        given = gather(environ, options, config_file)
        config = build(environ, given)
    except ConfigError as error:
        finding = problem(
            "configuration",
            str(error),
            "put it right: the daemon does not start with it (docs/configuration.md has what is allowed)",
        )
    else:
        return Found(config=config, given=given, without=frozenset(), findings=(_told(config),))
    for without, environ_left, given_left in _left(environ, options, config_file):
        try:
            config = build(environ_left, given_left)
        except ConfigError:
            continue
        return Found(config=config, given=given_left, without=without, findings=(finding,))
    return Found(config=None, given={}, without=frozenset(), findings=(finding,))


def _left(
    environ: Mapping[str, str], options: Mapping[str, object], config_file: str | None
) -> Iterator[tuple[frozenset[str], Mapping[str, str], Mapping[str, Given]]]:
    """What is given but for one setting, for each of them; then but for those that belong together."""
    # The backend last: without its address any other setting of it may look right.
    for setting in sorted(SETTINGS, key=lambda setting: setting.name == "pachd"):
        less_environ = {name: value for name, value in environ.items() if name not in setting.environ}
        less_options = {name: value for name, value in options.items() if name != setting.name}
        try:
            given = gather(less_environ, less_options, config_file)
        except ConfigError:
            continue
        yield frozenset((setting.name,)), less_environ, _but(given, {setting.name})
    try:
        given = gather(environ, options, config_file)
    except ConfigError:
        return
    # The embedded PFS here stands for none: neither pachctl's context nor anything else is looked at.
    none = {"pachd": Given(value="embedded", source="--pachd")}
    listen = {name: given[name] for name in LISTENERS if name in given}
    yield LISTENERS, environ, _but(given, LISTENERS)
    yield BACKEND, environ, listen | none
    yield BACKEND | LISTENERS, environ, none


def _but(given: Mapping[str, Given], names: Collection[str]) -> dict[str, Given]:
    return {name: value for name, value in given.items() if name not in names}


def _told(config: Config) -> Finding:
    listen = ", ".join(config.listen)
    backend = config.backend
    if isinstance(backend, Cluster):
        found = f"PFS is {backend.address} (from {backend.source}); S3 is served on {listen}"
        chosen = "pachctl" in backend.source
        return ok("configuration", found, "--pachd embedded serves the own store instead" if chosen else "")
    return ok("configuration", f"PFS is embedded (from {backend.source}); S3 is served on {listen}")


def file_given(given: Mapping[str, Given], name: str) -> Path | None:
    """The file that a setting names, as it was given."""
    if name not in given:
        return None
    return Path(str(given[name].value)).expanduser().absolute()
