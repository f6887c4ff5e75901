"""Commands on their way to the server: no I/O.

The switchboard puts them in, the link drains it in batches (`proxy.upstream.writer`).
Messages that stand together travel as columns (`ChatMessages`); one with more than a text goes
alone.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

from codec.columns import lengths_of
from gen.chat import ChatMessages, RelayCommand, RelayRequest, Texts
from proxy.core.unconfirmed import UnconfirmedSend

# The most of one batch. With fewer commands, both ends are busy with the frame around them;
# with more, one end waits until the other comes to the end of a batch.
_BATCH_COMMANDS: Final = 64
_BATCH_BYTES: Final = 1024 * 1024

COMMAND_BYTES: Final = 1024
"""The most that a command takes that is no message: ids, which are short, and numbers."""

Item = RelayCommand | UnconfirmedSend
"""A command, or a message to be sent."""


class Outbox:
    """A queue of commands and messages, which leave it in batches.

    It is closed while there is no link: what is put into it then is dropped, and the
    switchboard asks for all of it again on the next link.

    Attributes:
        refs: the refs of commands, rising: the server answers by them.
        is_open: whether there is a link.
        when_full: called when a batch cannot become larger; `None` while its reader is busy.
    """

    def __init__(self) -> None:
        self.refs = count(1)
        self.is_open = False
        self.when_full: Callable[[], None] | None = None
        self._items: deque[tuple[Item, int]] = deque()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return (item for item, _ in self._items)

    @property
    def size(self) -> int:
        """The bytes that wait, at most."""
        return sum(size for _, size in self._items)

    def open(self) -> None:
        """Starts to take items: there is a link."""
        self.is_open = True

    def close(self) -> None:
        """Drops all items, and those to come: the link is lost."""
        self.is_open = False
        self.when_full = None
        self._items.clear()

    def put(self, item: Item, size: int) -> None:
        """Adds an item, unless the outbox is closed.

        Args:
            item: the item.
            size: the bytes that it takes in a batch, at most.
        """
        if not self.is_open:
            return
        self._items.append((item, size))
        self._filled.set()
        if self.when_full is not None and len(self._items) >= _BATCH_COMMANDS:
            self.when_full()

    async def wait(self) -> None:
        """Waits until something was put in since this returned last."""
        await self._filled.wait()
        # One more turn of the loop brings what arrived together with the first.
        await asyncio.sleep(0)
        self._filled.clear()

    def take(self) -> list[Item]:
        """Removes and returns the next batch; empty if nothing waits."""
        items: list[Item] = []
        total = 0
        while self._items and total < _BATCH_BYTES and len(items) < _BATCH_COMMANDS:
            item, size = self._items.popleft()
            items.append(item)
            total += size
        return items

    def take_apart(self, alone: Callable[[Item], bool]) -> list[Item]:
        """As `take`, but items for which `alone` is true come alone."""
        items: list[Item] = []
        total = 0
        while self._items and total < _BATCH_BYTES and len(items) < _BATCH_COMMANDS:
            item, size = self._items[0]
            if alone(item):
                if not items:
                    items.append(self._items.popleft()[0])
                break
            self._items.popleft()
            items.append(item)
            total += size
        return items


def as_request(items: list[Item]) -> RelayRequest:
    """Returns items as one batch."""
    return RelayRequest(commands=_commands(items))


def as_command(item: Item) -> RelayCommand:
    """Returns an item as a command of its own."""
    if isinstance(item, RelayCommand):
        return item
    return RelayCommand(
        ref=item.ref,
        chat_message=item.message,
        client=_client_number(item),
        traceparent=item.client.traceparent,
    )


def _commands(items: list[Item]) -> list[RelayCommand]:
    commands: list[RelayCommand] = []
    run: list[UnconfirmedSend] = []
    for item in items:
        # Columns have neither traces nor extras.
        if (
            type(item) is UnconfirmedSend
            and item.client.traceparent is None
            and item.message.held_extra is None
        ):
            run.append(item)
            continue
        _end_run(commands, run)
        commands.append(as_command(item))
    _end_run(commands, run)
    return commands


def _end_run(commands: list[RelayCommand], run: list[UnconfirmedSend]) -> None:
    """Adds the messages of a run as one command."""
    if len(run) == 1:
        commands.append(as_command(run[0]))
    elif run:
        commands.append(_as_columns(run))
    run.clear()


def _as_columns(run: list[UnconfirmedSend]) -> RelayCommand:
    messages = [send.message for send in run]
    clients = [_client_number(send) for send in run]
    return RelayCommand(
        chat_messages=ChatMessages(
            refs=[send.ref for send in run],
            ids=_column([each.id for each in messages]),
            room_ids=_column([each.room_id for each in messages]),
            sender_ids=_column([each.sender_id for each in messages]),
            contents=_column([each.content for each in messages]),
            clients=clients if any(clients) else [],
        )
    )


def _column(texts: list[str]) -> Texts:
    return Texts(joined="".join(texts), lengths=lengths_of(texts))


def _client_number(send: UnconfirmedSend) -> int:
    """Returns the sender's client number at the server; 0 for a guest."""
    caller = send.client.caller
    return 0 if caller is None else caller.number
