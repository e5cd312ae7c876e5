"""Clients of the SDK for the real daemon."""

from __future__ import annotations

import boto3
from botocore.config import Config


def s3_client(url: str, *, token: str = "any", secret: str | None = None, **config: object) -> object:
    """A boto3 client with the SDK's defaults, but for what `config` says; the token is the secret as well."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=token,
        aws_secret_access_key=secret or token,
        region_name="us-east-1",
        config=Config(**{"retries": {"max_attempts": 1}} | config),
    )
