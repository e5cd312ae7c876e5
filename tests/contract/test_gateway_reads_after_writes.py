"""A GET is never stale: whoever wrote last, through this gateway, another one, or to PFS directly."""

from __future__ import annotations

import random

from counted_gateway import CountedCase

from pachgw.s3.gateway import Gateway

KEYS = ("a", "b", "c")
# Few, so that the same bytes come again under other keys and in other versions.
CONTENTS = (b"", b"x", b"y", b"x" * 1000, b"z" * 70_000)
STEPS = 60


class TestReadsAfterWrites(CountedCase):
    async def _write(self, chance: random.Random, gateways: list[Gateway], open_commit: str | None) -> None:
        key, data, who = chance.choice(KEYS), chance.choice(CONTENTS), chance.randrange(3)
        delete = chance.random() < 0.25
        if who == len(gateways):
            target = open_commit or "master"
            if delete:
                self.writer.delete(f"/{key}", target)
                self.expected.pop(key, None)
            elif chance.random() < 0.3 and key in self.expected:
                self.writer.put(f"/{key}", data, commit=target, append=True)
                self.expected[key] += data
            else:
                self.writer.put(f"/{key}", data, commit=target)
                self.expected[key] = data
            return
        answer = await self.ask("DELETE" if delete else "PUT", key, b"" if delete else data, gateways[who])
        self.assertIn(answer.status, (200, 204))
        if delete:
            self.expected.pop(key, None)
        else:
            self.expected[key] = data

    async def _look(self, gateway: Gateway, step: int) -> None:
        for key in KEYS:
            data = self.expected.get(key)
            answer = await self.ask("GET", key, gateway=gateway)
            seen = await self.bytes_of(answer) if answer.status == 200 else None
            self.assertEqual(seen, data, (step, key))
            if data:
                self.assertEqual(await self.get(key, gateway, range="bytes=-1"), data[-1:], (step, key))

    async def _write_and_look(self, seed: int, **words: int) -> None:
        chance = random.Random(seed)
        self.expected: dict[str, bytes] = {}
        gateways = [self.make_gateway(**words), self.make_gateway(**words)]
        open_commit: str | None = None
        for step in range(STEPS):
            if open_commit is None and chance.random() < 0.1:
                open_commit = self.writer.open_commit()
            elif open_commit is not None and chance.random() < 0.3:
                self.writer.finish_commit(open_commit)
                open_commit = None
            await self._write(chance, gateways, open_commit)
            await self._look(chance.choice(gateways), step)

    async def test_with_the_usual_cache(self) -> None:
        await self._write_and_look(1)

    async def test_with_no_cache(self) -> None:
        await self._write_and_look(2, cache_bytes=0)

    async def test_with_a_cache_for_one_object(self) -> None:
        await self._write_and_look(3, cache_bytes=4096)
