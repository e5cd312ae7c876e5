"""Where a setting's value comes from: a TOML file, the environment, the command line; the last one counts."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pachgw.config.settings import BY_NAME, SETTINGS, Flag, Setting, Texts, Value
from pachgw.config.values import ConfigError

CONFIG_VARIABLE = "PACHGW_CONFIG"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A value somebody gave, and who: `--name`, a variable, or `FILE:LINE: name`."""

    value: Value
    source: str


def gather(
    environ: Mapping[str, str], options: Mapping[str, object], config_file: str | None = None
) -> dict[str, Given]:
    """What is given for each setting that is given at all, by its name.

    `options` are those of the command line by their names, None or empty where they were not given;
    `config_file` is the one that the command line names, else $PACHGW_CONFIG does. Raises ConfigError.
    """
    given: dict[str, Given] = {}
    if config_file is not None:
        given |= _from_file(config_file, source="--config")
    elif environ.get(CONFIG_VARIABLE):
        given |= _from_file(environ[CONFIG_VARIABLE], source=CONFIG_VARIABLE)
    given |= _from_environ(environ)
    return given | _from_options(options)


def _from_environ(environ: Mapping[str, str]) -> dict[str, Given]:
    given = {}
    for setting in SETTINGS:
        for name in setting.environ:
            # An empty one is none, as for most programs.
            if text := environ.get(name):
                given[setting.name] = Given(value=_parse(setting, text, name), source=name)
                break
    return given


def _from_options(options: Mapping[str, object]) -> dict[str, Given]:
    given = {}
    for name, value in options.items():
        setting = BY_NAME[name]
        # Twisted has 0 for a flag that was not given.
        if value is None or value == [] or (isinstance(setting.kind, Flag) and not value):
            continue
        parsed: Value
        if isinstance(setting.kind, Texts) and isinstance(value, Sequence) and not isinstance(value, str):
            parsed = tuple(str(one) for one in value)
        elif isinstance(setting.kind, Flag):
            parsed = True
        else:
            parsed = _parse(setting, str(value), setting.option)
        given[name] = Given(value=parsed, source=setting.option)
    return given


def _parse(setting: Setting, text: str, source: str) -> Value:
    try:
        return setting.kind.parse(text)
    except ConfigError as error:
        raise ConfigError(f"{source} {text}: {error}" if text else f"{source}: {error}") from None


def _from_file(name: str, *, source: str) -> dict[str, Given]:
    path = Path(name).expanduser().absolute()
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{source} {path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{source} {path}: {error}") from None
    given = {}
    for key, value in values.items():
        where = f"{path}:{_line_of(text, key)}: {key}"
        setting = BY_NAME.get(key)
        if setting is None:
            raise ConfigError(f"{where}: no setting has this name{_nearest(key)}")
        try:
            given[key] = Given(value=setting.kind.check(value), source=where)
        except ConfigError as error:
            raise ConfigError(f"{where} = {_shown(value)}: {error}") from None
    return given


def _line_of(text: str, key: str) -> int:
    """The line on which the top-level key is set; 1 where it is spelled in a way nobody uses."""
    pattern = re.compile(rf"""\s*\[?\[?\s*["']?{re.escape(key)}["']?\s*(=|\.|\])""")
    for number, line in enumerate(text.splitlines(), 1):
        if pattern.match(line):
            return number
    return 1


def _nearest(key: str) -> str:
    # As options are written, and as Python would.
    near = difflib.get_close_matches(key.lower().replace("_", "-"), BY_NAME, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(BY_NAME)}"


def _shown(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
