"""The answers that the web layer asks for itself: each a code and a message.

A leaf of the web layer. How they look on the wire is up to the `render_error` handed to `make_site`.
"""

from __future__ import annotations

from enum import Enum

RETRY_AFTER_SECONDS = 1


class Refusal(Enum):
    """Why a request is not handled, or not to its end."""

    BAD_REQUEST = ("InvalidRequest", "The request is not well-formed HTTP.")
    HEAD_TOO_LARGE = (
        "RequestHeaderSectionTooLarge",
        "Your request header and query parameters used to make the request exceed the maximum allowed size.",
    )
    INVALID_URI = ("InvalidURI", "Couldn't parse the specified URI.")
    TIMED_OUT = (
        "RequestTimeout",
        "Your socket connection to the server was not read from or written to within the timeout period.",
    )
    SLOW_DOWN = ("SlowDown", "Please reduce your request rate.")
    INTERNAL = ("InternalError", "We encountered an internal error. Please try again.")

    @property
    def code(self) -> str:
        return self.value[0]

    @property
    def message(self) -> str:
        return self.value[1]

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What the answer says besides."""
        return (("Retry-After", str(RETRY_AFTER_SECONDS)),) if self is Refusal.SLOW_DOWN else ()
