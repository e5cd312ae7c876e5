"""Who asks: signatures of requests, as pure functions of (head, keys, now). No clock, no I/O."""

from pachgw.s3.auth.post import missing_field, verify_form
from pachgw.s3.auth.principal import ChunkSigning, Payload, PayloadKind, Principal, SecretOf
from pachgw.s3.auth.scheme import authenticate

__all__ = [
    "ChunkSigning",
    "Payload",
    "PayloadKind",
    "Principal",
    "SecretOf",
    "authenticate",
    "missing_field",
    "verify_form",
]
