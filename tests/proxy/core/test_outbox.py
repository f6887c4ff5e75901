"""Batches for the server, as the server reads them."""

import asyncio
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

import codec
from chat.api.batches import Columns
from gen.chat import ChatMessage, ChatMessages, Leave, RelayCommand, RelayRequest
from proxy.core.client import Caller
from proxy.core.outbox import Outbox, as_request
from proxy.core.unconfirmed import UnconfirmedSend
from tests.proxy.relay_model import Guest

texts = st.text(st.characters(codec="utf-8"), max_size=5)
messages = st.builds(ChatMessage, id=texts, room_id=texts, sender_id=texts, content=texts)


class Someone(Guest):
    """A client, by what the server learns of it."""

    def __init__(self, number: int, traceparent: str | None) -> None:
        super().__init__()
        self.caller = Caller(number, "token", self.dismiss) if number else None
        self.traceparent = traceparent

    def write(self, frame: bytes) -> None:
        raise AssertionError(frame)


class Told(NamedTuple):
    """The server's view of one item."""

    ref: int
    client: int
    traceparent: str | None
    message: ChatMessage | None


clients = st.builds(Someone, st.sampled_from([0, 0, 0, 7]), st.sampled_from([None, None, "trace"]))
# A message of a client, or a command.
entries = st.lists(st.tuples(clients, messages) | st.none(), max_size=200)


def told(request: RelayRequest) -> list[Told]:
    """Reads a batch as the server does."""
    result = []
    for command in codec.decode(RelayRequest, codec.encode(request)).commands:
        payload = command.command
        if isinstance(payload, ChatMessages):
            result += [Told(ref, client, None, each) for ref, client, each in Columns(payload)]
        else:
            message = payload if isinstance(payload, ChatMessage) else None
            result.append(Told(command.ref, command.client, command.traceparent, message))
    return result


@given(entries)
def test_outbox_keeps_order_and_content(
    entries: list[tuple[Someone, ChatMessage] | None],
) -> None:
    outbox = Outbox()
    outbox.open()
    expected = []
    for ref, entry in enumerate(entries, 1):
        if entry is None:
            outbox.put(RelayCommand(ref=ref, leave=Leave("lobby")), 1)
            expected.append(Told(ref, 0, None, None))
        else:
            client, message = entry
            outbox.put(UnconfirmedSend(ref, message, client, None, 1), 1)
            number = client.caller.number if client.caller else 0
            expected.append(Told(ref, number, client.traceparent, message))
    batches = []
    while outbox:
        waiting = len(outbox)
        batches.append(told(as_request(outbox.take())))
        assert len(batches[-1]) == waiting - len(outbox) <= 64
    assert [each for batch in batches for each in batch] == expected


def leave(ref: int) -> RelayCommand:
    return RelayCommand(ref=ref, leave=Leave("lobby"))


def test_batch_is_bounded_in_bytes() -> None:
    outbox = Outbox()
    outbox.open()
    for ref in range(1, 11):
        outbox.put(leave(ref), 400 * 1024)
    assert outbox.size == 10 * 400 * 1024
    assert len(as_request(outbox.take()).commands) == 3
    outbox.close()
    assert not outbox
    assert outbox.size == 0


def test_closed_outbox_drops_items() -> None:
    outbox = Outbox()
    outbox.put(leave(1), 1)
    outbox.open()
    outbox.put(leave(2), 1)
    assert [item.ref for item in outbox] == [2]


def test_full_batch_is_announced() -> None:
    outbox, taken = Outbox(), list[int]()
    outbox.open()
    outbox.when_full = lambda: taken.append(len(outbox.take()))
    for ref in range(130):
        outbox.put(leave(ref), 1)
    assert taken == [64, 64]
    assert len(outbox) == 2


async def test_reader_gets_a_whole_turn() -> None:
    outbox = Outbox()
    outbox.open()
    waiting = asyncio.create_task(outbox.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.put(leave(1), 1)
    asyncio.get_running_loop().call_soon(outbox.put, leave(2), 1)
    await waiting
    assert len(outbox) == 2
    waiting = asyncio.create_task(outbox.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.put(leave(3), 1)
    await waiting
