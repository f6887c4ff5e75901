"""Drains the outbox into the stream of one link, batch by batch.

Usually a batch is all that became ready in one turn of the event loop. Two things differ:

*A batch that is full goes at once*, in the middle of the turn that filled it, so that the
server begins with it while the proxy goes on. It does so only while nobody is in the
middle of writing, and only if HTTP/2's windows have room; else it waits here.

*After links that died soon* the commands that are repeated go in small groups, each
answered before the next one goes. `proxy.core.suspects` has the reason.
"""

import asyncio

from grpclib.client import Stream

import codec
from gen.chat import RelayRequest, RelayResponse
from hosting.grpc.channel import StreamWriter
from proxy import errors
from proxy.core.outbox import Item, as_request
from proxy.core.suspects import Suspects
from proxy.core.switchboard import Switchboard
from proxy.metrics import ProxyMetrics

Relay = Stream[RelayRequest, RelayResponse]


class Writer:
    """The outgoing side of one link.

    Args:
        stream: the stream; its request was sent.
        switchboard: its outbox is drained.
        suspects: the commands that go in small groups.
        metrics: counts batches.
    """

    def __init__(
        self, stream: Relay, switchboard: Switchboard, suspects: Suspects, metrics: ProxyMetrics
    ) -> None:
        self._stream = stream
        self._wire = StreamWriter(stream)
        self._switchboard = switchboard
        self._outbox = switchboard.outbox
        self._suspects = suspects
        self._metrics = metrics
        # A batch that left the outbox, but could not be written at once.
        self._unsent = b""
        # The number of commands that still go in groups, and the group on the stream.
        self._careful = len(self._outbox) if suspects else 0
        self._group: list[Item] = []
        self._answers = asyncio.Event()
        self._stopped = False

    async def run(self) -> None:
        """Writes until it is cancelled.

        After `finish` it takes nothing more.

        Raises:
            Exception: the stream is lost.
        """
        while True:
            held = self._careful or self._stopped
            self._outbox.when_full = None if held else self._write_full
            await self._outbox.wait()
            self._outbox.when_full = None
            while batch := self._unsent or self._take_batch():
                self._unsent = b""
                if not self._wire.write_now(batch):
                    # grpclib's codec is ours: it takes what is encoded already.
                    await self._stream.send_message(batch)  # type: ignore[arg-type]
                if self._group:
                    await self._wait_for_group()

    def note_answers(self) -> None:
        """Notes that a batch of answers was handled."""
        self._answers.set()

    def stop_grouping(self) -> None:
        """Lets all go together from now on: the link has proven itself."""
        self._careful = 0
        self._answers.set()

    async def finish(self) -> None:
        """Takes nothing more from the outbox, and waits until all before it is answered."""
        self._stopped = True
        self._outbox.when_full = None
        while self._unsent or self._switchboard.carried():
            self._answers.clear()
            await self._answers.wait()

    async def _wait_for_group(self) -> None:
        """Waits until the group on the stream is answered, unless the link is proven."""
        while self._careful and any(map(self._switchboard.awaits, self._group)):
            self._answers.clear()
            await self._answers.wait()
        self._careful = max(self._careful - len(self._group), 0)
        self._group = []

    def _write_full(self) -> None:
        """Writes a batch that is full, unless it has to wait."""
        batch = self._take_batch()
        try:
            written = self._wire.write_now(batch)
        except Exception:  # noqa: BLE001 - the sender of the last message is not to blame
            # `run` meets it again, and the link ends.
            written = False
        if not written:
            self._unsent, self._outbox.when_full = batch, None

    def _take_batch(self) -> bytes:
        """Takes the next batch from the outbox, encoded; empty if nothing waits."""
        batch = b""
        while self._outbox and not (batch or self._stopped):
            if self._careful:
                items = self._outbox.take_apart(self._suspects.strongly)
                self._group += items
            else:
                items = self._outbox.take()
            try:
                batch = codec.encode(as_request(items))
            except Exception:  # noqa: BLE001 - encoded one by one, the bad one shows
                batch = b"".join(map(self._encode_alone, items))
            self._metrics.sent_batches.observe(len(items))
        return batch

    def _encode_alone(self, item: Item) -> bytes:
        try:
            return codec.encode(as_request([item]))
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._switchboard.faults.log("command not encoded", error)
            # Later: its client may answer by putting something into the outbox.
            loop = asyncio.get_running_loop()
            loop.call_soon(self._switchboard.refuse, item.ref, errors.internal())
            return b""
