"""The kept key tables: built once, dropped by age when there is no room, never failed by somebody else."""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from pachgw.s3.listing.keytable import KeyTable
from pachgw.s3.listing.keytables import TABLE_BYTES, KeyTables

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def table_of(*keys: str) -> KeyTable:
    return KeyTable.build([(key, 1, bytes(32)) for key in keys], last_modified=WHEN)


class Builder:
    """A build function whose results the test gives."""

    def __init__(self) -> None:
        self.asked: list[Deferred[KeyTable]] = []

    async def __call__(self) -> KeyTable:
        result: Deferred[KeyTable] = Deferred()
        self.asked.append(result)
        return await result


class KeyTablesTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.tables = KeyTables(1024 * 1024)

    def get(self, name: str, build: Builder, tables: KeyTables | None = None) -> Deferred[KeyTable]:
        return Deferred.fromCoroutine((tables or self.tables).get(name, build))

    def built(self, name: str, table: KeyTable, tables: KeyTables | None = None) -> bool:
        """Whether the table had to be built: it was not kept."""
        builder = Builder()
        answer = self.get(name, builder, tables)
        if builder.asked:
            builder.asked[0].callback(table)
        assert self.successResultOf(answer) is not None
        return bool(builder.asked)

    def test_a_table_is_built_once_and_kept(self) -> None:
        table = table_of("a")
        builder = Builder()
        answer = self.get("n", builder)
        builder.asked[0].callback(table)
        assert self.successResultOf(answer) is table
        assert self.successResultOf(self.get("n", builder)) is table
        assert len(builder.asked) == 1
        assert self.tables.nbytes == table.nbytes + TABLE_BYTES

    def test_who_asks_meanwhile_waits_for_the_same_table(self) -> None:
        builders = [Builder() for _ in range(4)]
        answers = [self.get("n", builder) for builder in builders]
        assert [len(builder.asked) for builder in builders] == [1, 0, 0, 0]
        table = table_of("a")
        builders[0].asked[0].callback(table)
        assert all(self.successResultOf(answer) is table for answer in answers)
        assert [len(builder.asked) for builder in builders] == [1, 0, 0, 0]

    def test_other_names_do_not_wait(self) -> None:
        slow, quick = Builder(), Builder()
        waiting = self.get("slow", slow)
        answer = self.get("quick", quick)
        quick.asked[0].callback(table_of("q"))
        self.successResultOf(answer)
        self.assertNoResult(waiting)

    def test_a_failure_is_the_builders_alone(self) -> None:
        builders = [Builder() for _ in range(3)]
        answers = [self.get("n", builder) for builder in builders]
        builders[0].asked[0].errback(PermissionError("your token"))
        assert self.failureResultOf(answers[0]).check(PermissionError)
        # One of those who waited builds now, the other waits for it.
        assert [len(builder.asked) for builder in builders] == [1, 1, 0]
        table = table_of("a")
        builders[1].asked[0].callback(table)
        assert self.successResultOf(answers[1]) is table
        assert self.successResultOf(answers[2]) is table

    def test_each_may_fail_for_itself(self) -> None:
        builders = [Builder() for _ in range(3)]
        answers = [self.get("n", builder) for builder in builders]
        for index, builder in enumerate(builders):
            builder.asked[0].errback(ValueError(str(index)))
        for index, answer in enumerate(answers):
            assert str(self.failureResultOf(answer).value) == str(index)
        assert self.built("n", table_of("a"))

    def test_a_builder_that_fails_at_once(self) -> None:
        async def build() -> KeyTable:
            raise ValueError("at once")

        answer = Deferred.fromCoroutine(self.tables.get("n", build))
        assert self.failureResultOf(answer).check(ValueError)
        assert self.built("n", table_of("a"))

    def test_the_least_recently_used_goes_first(self) -> None:
        table = table_of("x" * 1000)
        tables = KeyTables(3 * (table.nbytes + TABLE_BYTES))
        for name in "abc":
            assert self.built(name, table, tables)
        assert not self.built("a", table, tables)
        assert self.built("d", table, tables)
        assert [name for name in "acd" if self.built(name, table, tables)] == []
        assert self.built("b", table, tables)
        assert tables.nbytes == 3 * (table.nbytes + TABLE_BYTES)

    def test_a_large_table_drops_as_many_as_it_takes(self) -> None:
        small, large = table_of("x" * 100), table_of("y" * 10_000)
        tables = KeyTables(large.nbytes + TABLE_BYTES + small.nbytes + TABLE_BYTES)
        for name in "abcd":
            self.built(name, small, tables)
        self.built("large", large, tables)
        assert tables.nbytes <= large.nbytes + small.nbytes + 2 * TABLE_BYTES
        assert not self.built("large", large, tables)
        assert not self.built("d", small, tables)
        assert self.built("a", small, tables)

    def test_a_table_too_large_is_answered_and_not_kept(self) -> None:
        small, large = table_of("a"), table_of("x" * 5000)
        tables = KeyTables(small.nbytes + TABLE_BYTES)
        assert self.built("small", small, tables)
        assert self.built("large", large, tables)
        assert self.built("large", large, tables)
        assert not self.built("small", small, tables)
        assert tables.nbytes == small.nbytes + TABLE_BYTES

    def test_empty_tables_take_room_too(self) -> None:
        tables = KeyTables(10 * TABLE_BYTES)
        for index in range(100):
            self.built(str(index), table_of(), tables)
        assert tables.nbytes == 10 * TABLE_BYTES
        assert self.built("0", table_of(), tables)

    def test_cancelling_who_waits_leaves_the_others(self) -> None:
        builders = [Builder() for _ in range(3)]
        answers = [self.get("n", builder) for builder in builders]
        answers[1].cancel()
        assert self.failureResultOf(answers[1]).check(CancelledError)
        table = table_of("a")
        builders[0].asked[0].callback(table)
        assert self.successResultOf(answers[0]) is table
        assert self.successResultOf(answers[2]) is table

    def test_cancelling_the_builder_lets_it_build_for_the_others(self) -> None:
        builders = [Builder() for _ in range(2)]
        answers = [self.get("n", builder) for builder in builders]
        answers[0].cancel()
        assert self.failureResultOf(answers[0]).check(CancelledError)
        self.assertNoResult(answers[1])
        table = table_of("a")
        builders[0].asked[0].callback(table)
        assert self.successResultOf(answers[1]) is table
        assert not self.built("n", table)

    def test_the_failure_of_a_cancelled_builder_is_nobodys(self) -> None:
        builder = Builder()
        answer = self.get("n", builder)
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        builder.asked[0].errback(ValueError("unheard"))
        assert self.built("n", table_of("a"))
        assert self.flushLoggedErrors() == []
