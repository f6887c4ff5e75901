"""What goes to the server in a batch, as the server reads it."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

import codec
from chat.api.batches import Columns
from gen.chat import ChatMessage, ChatMessages, Error, Leave, RelayCommand, RelayRequest
from proxy.core.callers import Caller
from proxy.core.fanout import Client
from proxy.core.outbox import Item, Outbox, as_request
from proxy.core.outstanding import Unconfirmed

texts = st.text(st.characters(codec="utf-8"), max_size=5)
messages = st.builds(ChatMessage, id=texts, room_id=texts, sender_id=texts, content=texts)


class Someone(Client):
    """A client, by what the server gets to know of it."""

    def __init__(self, number: int, traceparent: str | None) -> None:
        self.rooms, self.users = set(), set()
        self.caller = Caller(number, "token", self.dismiss) if number else None
        self.traceparent = traceparent

    def write(self, frame: bytes) -> None:
        raise AssertionError(frame)

    def told_to_wait(self) -> None:
        raise AssertionError("nobody was")

    def dismiss(self, error: Error) -> None:
        raise AssertionError(error)


class Told(NamedTuple):
    """What the server is told of one item."""

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
def test_the_server_is_told_all_of_it_in_order(
    entries: list[tuple[Someone, ChatMessage] | None],
) -> None:
    outbox = Outbox()
    expected = []
    for ref, entry in enumerate(entries, 1):
        if entry is None:
            outbox.put(RelayCommand(ref=ref, leave=Leave("lobby")), 1)
            expected.append(Told(ref, 0, None, None))
        else:
            client, message = entry
            outbox.put(Unconfirmed[Client](ref, message, client, None, 1), 1)
            number = client.caller.number if client.caller else 0
            expected.append(Told(ref, number, client.traceparent, message))
    batches = []
    while outbox:
        waiting = len(outbox)
        batches.append(told(as_request(outbox.take())))
        assert len(batches[-1]) == waiting - len(outbox) <= 64
    assert [each for batch in batches for each in batch] == expected


def test_a_batch_is_bounded_in_bytes() -> None:
    outbox = Outbox()
    for ref in range(1, 11):
        item: Item = RelayCommand(ref=ref, leave=Leave("lobby"))
        outbox.put(item, 400 * 1024)
    assert outbox.size == 10 * 400 * 1024
    assert len(as_request(outbox.take()).commands) == 3
    outbox.clear()
    assert not outbox
    assert outbox.size == 0
