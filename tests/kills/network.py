"""A TCP link on loopback between a client and a server, which can be cut, held up, slow, or lose the answers."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

LOOPBACK = "127.0.0.1"
BLOCK = 1 << 16
DELAY = 0.25  # seconds that a slow link holds each block, each way


@dataclass
class Link:
    """What passes between a port of its own and the server's port."""

    port: int
    target: int
    how: str = "open"  # or "cut", "held", "slow", "deaf"

    def set(self, how: str) -> None:
        """Change what it does; whatever is open when it is cut is reset."""
        self.how = how
        if how == "cut":
            self._network.call(self._reset)

    def __post_init__(self) -> None:
        self._writers: set[asyncio.StreamWriter] = set()

    def start(self, network: "Network") -> None:
        """Listen."""
        self._network = network
        network.wait_for(asyncio.start_server(self._serve, LOOPBACK, self.port))

    def _reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.how == "cut":
            writer.transport.abort()
            return
        try:
            there, to_server = await asyncio.open_connection(LOOPBACK, self.target)
        except OSError:
            # The server was killed: to the client that is the same as if it had asked itself.
            writer.transport.abort()
            return
        both = {writer, to_server}
        self._writers |= both
        await asyncio.gather(self._pass(reader, to_server), self._pass(there, writer, answers=True))
        self._writers -= both

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool = False) -> None:
        try:
            while block := await reader.read(BLOCK):
                if self.how == "slow":
                    await asyncio.sleep(DELAY)
                while self.how == "held":
                    await asyncio.sleep(0.1)
                if answers and self.how == "deaf":
                    # The server has done what it was asked, and the client never learns of it.
                    writer.transport.abort()
                    return
                writer.write(block)
                await writer.drain()
        except OSError:
            # One end is gone; the other is to notice.
            writer.transport.abort()
        finally:
            writer.close()


class Network:
    """The thread in which links pass on."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True, name="network").start()

    def call(self, function: Callable[[], None]) -> None:
        """Have it called in the thread, soon."""
        self._loop.call_soon_threadsafe(function)

    def wait_for(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run it to its end in the thread."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)
