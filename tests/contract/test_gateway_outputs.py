"""A sidecar whose output PFS lets nobody read before it is finished: everything is written unseen."""

from __future__ import annotations

import re

from counted_gateway import REPO, CountedCase
from output_pfs import output_pfs
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from pachgw.messages import RequestHead, Response
from pachgw.pfs.client import GrpcPFS
from pachgw.s3.gateway import Gateway
from pachgw.s3.sidecar import FixedBucket, Sidecar
from pachgw.streams import read_all

PART = 5 << 20


class TestUnreadableOutputs(CountedCase):
    bucket = "out"

    def setUp(self) -> None:
        super().setUp()
        self.writer.put("/kept", b"kept")
        self.writer.put("/gone/deep", b"gone")
        self.commit = self.writer.open_commit()
        address = self.client._address
        self.guard = self.stack.enter_context(output_pfs(address, f"{address}-guarded"))
        self.guard.output = self.commit
        self.plain, self.client = self.client, GrpcPFS(f"{address}-guarded", reactor=reactor)  # type: ignore[arg-type]
        self.client.start()
        # The other one is stopped by its name.
        plain = self.plain
        self.addCleanup(lambda: Deferred.fromCoroutine(plain.stop()))
        self.gateway = self.sidecar()

    def sidecar(self, *, readable: bool = False) -> Gateway:
        output = FixedBucket(name="out", repo=REPO, commit=self.commit)
        return self.make_gateway(sidecar=Sidecar(output=output, readable=readable))

    def head(self, method: str, key: str, **words: str) -> RequestHead:
        made = super().head(method, key, **words)
        return RequestHead(method=method, raw_uri=f"/{self.bucket}/{key}".encode(), headers=made.headers)

    async def said(self, method: str, key: str, data: bytes = b"", **words: str) -> tuple[int, str]:
        """The status, and the code of an error."""
        answer = await self.ask(method, key, data, **words)
        found = re.search(rb"<Code>(.*?)</Code>", answer.body if isinstance(answer.body, bytes) else b"")
        return answer.status, found[1].decode() if found else ""

    async def finished(self) -> dict[str, bytes]:
        """The output's files, once it is finished."""
        self.writer.finish_commit(self.commit)
        pfs = self.plain.session(None)
        walk = await pfs.walk_file(REPO, self.commit, "/")
        found: dict[str, bytes] = {}
        while batch := await walk.read():
            for info in batch:
                if not info.is_dir:
                    source = await pfs.get_file(REPO, self.commit, info.path)
                    found[info.path] = await read_all(source, 1 << 24)
        await walk.aclose()
        self.assertEqual([branch.name for branch in await pfs.list_branch(REPO)], ["master"])
        return found

    async def test_puts_and_deletes(self) -> None:
        large = bytes(3 << 20)
        asked = [self.said("PUT", f"small/{number}", b"%d" % number) for number in range(8)]
        asked += [
            self.said("PUT", "large", large),
            self.said("DELETE", "gone/deep"),
            self.said("DELETE", "no"),
        ]
        answers = await gatherResults([Deferred.fromCoroutine(each) for each in asked])
        self.assertEqual([status for status, _ in answers], [200] * 9 + [204] * 2)
        self.assertEqual(await self.said("PUT", "small/0", b"again"), (200, ""))
        self.assertEqual(await self.said("DELETE", "small/1"), (204, ""))
        batch = b"<Delete><Object><Key>small/2</Key></Object><Object><Key>none</Key></Object></Delete>"
        answer = await self.ask("POST", "?delete", batch)
        self.assertEqual((answer.status, answer.body.count(b"<Deleted>")), (200, 2))  # type: ignore[union-attr]
        expected = {f"/small/{number}": b"%d" % number for number in range(3, 8)}
        files = await self.finished()
        self.assertEqual(files, {"/kept": b"kept", "/large": large, "/small/0": b"again", **expected})

    async def test_an_upload_in_parts(self) -> None:
        pieces = (b"a" * PART, b"b")
        created = await self.ask("POST", "joined?uploads")
        upload = re.search(rb"<UploadId>(.*?)</UploadId>", _bytes(created))[1].decode()  # type: ignore[index]
        listed = ""
        for number, piece in enumerate(pieces, 1):
            answer = await self.ask("PUT", f"joined?partNumber={number}&uploadId={upload}", piece)
            etag = dict(answer.headers)["ETag"]
            listed += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        for _ in range(2):
            done = await self.ask("POST", f"joined?uploadId={upload}", body)
            self.assertEqual(done.status, 200)
            self.assertIn(b"<CompleteMultipartUploadResult", _bytes(done))
        files = await self.finished()
        self.assertEqual(files, {"/kept": b"kept", "/gone/deep": b"gone", "/joined": b"".join(pieces)})

    async def test_what_would_have_to_be_seen_is_refused(self) -> None:
        refused = (501, "NotImplemented")
        self.assertEqual(await self.said("PUT", "kept", b"x", if_none_match="*"), refused)
        self.assertEqual(await self.said("PUT", "kept", bytes(2 << 20), if_match='"e"'), refused)
        self.assertEqual(await self.said("DELETE", "kept", if_match='"e"'), refused)
        self.gateway = self.sidecar(readable=True)
        self.assertEqual(await self.said("GET", "kept"), refused)
        self.assertEqual(await self.said("HEAD", "kept"), refused)
        self.assertEqual(await self.said("GET", "?list-type=2"), refused)
        self.assertEqual(await self.said("PUT", "copy", x_amz_copy_source="out/kept"), refused)
        files = await self.finished()
        self.assertEqual(files, {"/kept": b"kept", "/gone/deep": b"gone"})

    async def test_nobody_else_writes_unseen(self) -> None:
        """As the head of its branch the output is a bucket like others, and is looked at first."""
        self.gateway, self.bucket = self.make_gateway(), "master.r"
        for method, key in (("GET", "kept"), ("PUT", "new"), ("DELETE", "kept"), ("DELETE", "gone")):
            self.assertEqual(await self.said(method, key), (501, "NotImplemented"), (method, key))
        self.assertNotIn("PutFile", self.guard.calls)


def _bytes(response: Response) -> bytes:
    assert isinstance(response.body, bytes)
    return response.body
