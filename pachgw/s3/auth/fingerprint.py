"""How a log speaks of a token without showing it."""

from __future__ import annotations

import hashlib
from functools import lru_cache

DIGITS = 12

REMEMBERED = 128
"""Tokens whose fingerprints are not reckoned anew with each request."""


@lru_cache(maxsize=REMEMBERED)
def fingerprint(token: str) -> str:
    """The first digits of the token's SHA-256, as `pachgw token list` shows it.

    Nobody gets a token of PFS's making back from it, which has 128 random bits; one that was chosen by hand
    can be guessed, and then found again by it.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
