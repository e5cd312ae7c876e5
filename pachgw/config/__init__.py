"""Options, environment and a file become one frozen Config; every default is here, every error says where.

Nothing is opened for good, made or asked for over the network; only names and addresses are looked at.
"""

from pachgw.config.backend import DEFAULT_PACHD_PORT, EMBEDDED, normal_address
from pachgw.config.load import load
from pachgw.config.places import state_directory
from pachgw.config.settings import SETTINGS, Flag, Setting, Texts
from pachgw.config.values import (
    CACHE_MEMORY_MIB,
    DEFAULT_LISTEN,
    MAX_CONNECTIONS,
    MAX_REQUESTS,
    TRANSFER_MEMORY_MIB,
    Cluster,
    Config,
    ConfigError,
    Embedded,
    SidecarBucket,
)

__all__ = [
    "CACHE_MEMORY_MIB",
    "DEFAULT_LISTEN",
    "DEFAULT_PACHD_PORT",
    "EMBEDDED",
    "MAX_CONNECTIONS",
    "MAX_REQUESTS",
    "SETTINGS",
    "TRANSFER_MEMORY_MIB",
    "Cluster",
    "Config",
    "ConfigError",
    "Embedded",
    "Flag",
    "Setting",
    "SidecarBucket",
    "Texts",
    "load",
    "normal_address",
    "state_directory",
]
