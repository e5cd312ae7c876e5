"""Command-line clients set up for the daemon, each as its users have it: addresses, keys, nothing else."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from tools import tool


def aws(url: str) -> list[str]:
    return [tool("aws"), "--endpoint-url", url, "--region", "us-east-1"]


def s5cmd(url: str) -> list[str]:
    return [tool("s5cmd"), "--endpoint-url", url]


def rclone(url: str, directory: Path) -> list[str]:
    """The remote is `gw:`; `directory` gets the configuration."""
    config = directory / "rclone.conf"
    config.write_text(
        "[gw]\ntype = s3\nprovider = Other\naccess_key_id = any\nsecret_access_key = any\n"
        f"endpoint = {url}\nuse_multipart_uploads = true\n",
        encoding="utf-8",
    )
    return [tool("rclone"), "--config", str(config), "--retries", "1", "--low-level-retries", "1"]


def s3cmd(url: str, directory: Path, *, signature_v2: bool = False) -> list[str]:
    config = directory / "s3cfg"
    host = urlsplit(url).netloc
    config.write_text(
        f"[default]\naccess_key = any\nsecret_key = any\nhost_base = {host}\nhost_bucket = {host}\n"
        f"use_https = False\nsignature_v2 = {signature_v2}\nbucket_location = us-east-1\n",
        encoding="utf-8",
    )
    return [tool("s3cmd"), "--config", str(config), "--no-progress"]
