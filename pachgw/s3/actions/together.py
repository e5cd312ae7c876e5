"""Calls to PFS side by side."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults

T = TypeVar("T")


async def together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What each returns, in their order; raises what the first one to fail raises."""
    try:
        return await gatherResults([Deferred.fromCoroutine(call) for call in calls], consumeErrors=True)
    except FirstError as error:
        # The caller asked for calls to PFS and expects their errors, not this wrapping.
        error.subFailure.raiseException()
