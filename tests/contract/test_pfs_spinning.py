"""The thread in which a channel hears of its calls: kept between calls, gone when the client has stopped."""

from __future__ import annotations

import threading

import grpc
from client_case import ClientCase, file_info
from grpc import _channel as private

from pachgw.pfs.bridge import Bridge
from pachgw.pfs.proto import auth_pb2
from pachgw.pfs.spinning import KeptSpinning


class TestKept(ClientCase):
    async def test_private_names_are_there(self) -> None:
        channel = grpc.insecure_channel(self.address)
        try:
            state = channel._call_state  # type: ignore[attr-defined]
            self.assertEqual(state.managed_calls, 0)
            self.assertTrue(hasattr(state, "lock"))
            self.assertTrue(callable(private._run_channel_spin_thread))
        finally:
            channel.close()

    async def test_one_thread_for_all_calls(self) -> None:
        self.pfs_server.on_inspect_file = lambda request, context: file_info("/f")
        kept = self.client._channels._kept  # type: ignore[union-attr]
        self.assertTrue(kept.is_kept)
        idents = set()
        convert_threads = Bridge.answer

        async def answer(bridge: Bridge, call: object, convert: object) -> object:
            def watch(value: object) -> object:
                idents.add(threading.get_ident())
                return convert(value)  # type: ignore[operator]

            return await convert_threads(bridge, call, watch)  # type: ignore[arg-type]

        self.patch(Bridge, "answer", answer)
        for _ in range(5):
            await self.pfs.inspect_file("r", "c", "/f")
            await self.turns(3)
        self.assertEqual(len(idents), 1)

    async def test_the_thread_ends_with_the_client(self) -> None:
        self.pfs_server.on_inspect_file = lambda request, context: file_info("/f")
        before = set(threading.enumerate())
        channel = grpc.insecure_channel(self.address)
        kept = KeptSpinning(channel)
        (spinning,) = set(threading.enumerate()) - before
        stub = channel.unary_unary("/auth.API/WhoAmI", auth_pb2.WhoAmIRequest.SerializeToString, None)
        kept.release(lambda: stub.future(auth_pb2.WhoAmIRequest(), timeout=0))
        self.assertFalse(kept.is_kept)
        await self.event_of(spinning)
        channel.close()

    async def event_of(self, thread: threading.Thread) -> None:
        """Wait for the end of the thread."""
        ended = threading.Event()

        def join() -> None:
            thread.join()
            ended.set()

        threading.Thread(target=join, daemon=True).start()
        await self.event(ended)

    async def test_closing_ends_the_thread_and_the_calls_under_way(self) -> None:
        called, gate = threading.Event(), threading.Event()
        self.addCleanup(gate.set)

        def inspect(request: object, context: grpc.ServicerContext) -> object:
            called.set()
            gate.wait()
            return file_info("/f")

        self.pfs_server.on_inspect_file = inspect  # type: ignore[assignment]
        before = set(threading.enumerate())
        channel = grpc.insecure_channel(self.address)
        kept = KeptSpinning(channel)
        (spinning,) = set(threading.enumerate()) - before
        stub = channel.unary_unary("/pfs.API/InspectFile", lambda _: b"", None)
        call = stub.future(b"")
        await self.event(called)
        kept.release(lambda: self.fail("a call is under way"))  # type: ignore[arg-type,return-value]
        self.assertFalse(kept.is_kept)
        channel.close()
        self.assertIs(call.code(), grpc.StatusCode.CANCELLED)
        await self.event_of(spinning)
