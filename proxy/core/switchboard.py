"""The heart of the proxy: many clients, one stream to the server. No I/O of its own.

::

    clients                   switchboard                        outbox -> link -> server
    -------                   -----------                        ------------------------
    authenticate, renew,  --> callers   who they are         --> authenticate, admit
    ask_permissions
    pinned, add_member    --> rooms     where they are       --> join, leave
    change                --> questions kept until answered  --> change_message
    send                  --> presence  as whom they speak   --> presence
                              sends     kept until confirmed --> chat_message
    types                 --> people    who is there, types  --> typists, room_presence
    write                 <-- receiver  fan-out, news,       <-- batches of events
                                        people

The life of a message: `send` puts it into `sends` and into the outbox. It comes back as
`stored` with its position; the receiver finds it by its ref, makes a frame of it once,
and writes the same bytes to each client in its room.

Rules that hold over lost links:

1. What clients want is here, not in the outbox. A new link is told all of it again
   (`connected`), in this order: tokens, presence, rooms, messages, and at last the clients
   and users that are gone. A message never comes before the token of its sender, nor before
   the `join` of the room that its sender is in.
2. Each room is asked for from the position and the change that were last delivered, each message
   is sent again in its order, and its idempotency key makes it stored once.
3. A ref names a send for good: an answer on a later link finds it. A `join` has a new
   one on each link, and answers to an old one find nothing.
4. A message is delivered if its position is the next one of its room. If it is older, it was
   delivered before; if one is missing, the link is given up, and rule 2 brings it again. The same
   holds for changes, by their numbers.
"""

from collections.abc import Iterator
from typing import Final

from codec.columns import utf8_length
from gen.chat import (
    ChangeMessageRequest,
    ChangeMessageResponse,
    ChatMessage,
    Error,
    Join,
    RelayResponse,
)
from hosting.faults import Faults
from proxy import errors
from proxy.config import Config
from proxy.core import extras
from proxy.core.callers import Callers
from proxy.core.client import Caller, Client
from proxy.core.news import News
from proxy.core.outbox import COMMAND_BYTES, Item, Outbox
from proxy.core.outlet import Paces
from proxy.core.people import People
from proxy.core.presence import Presence
from proxy.core.questions import Questions
from proxy.core.receiver import Receiver
from proxy.core.rooms import Rooms
from proxy.core.suspects import Key, key_of
from proxy.core.unconfirmed import UnconfirmedSend, UnconfirmedSends
from proxy.metrics import ProxyMetrics

# In UTF-8.
_LARGEST_CHARACTER: Final = 4
# A message beside its texts, with all that is kept about it until it is confirmed.
_OVERHEAD: Final = 1024


class Switchboard:
    """Clients, rooms and unconfirmed sends.

    Attributes:
        outbox: the commands that go to the server next.
        rooms: the rooms that clients are in.
        people: who is in them and who types there.
        sends: the messages that are not confirmed yet.
        callers: the clients that presented a token.
        guests: the clients that presented none, while the server asks for none.
        faults: logs defects.
        tokens_required: whether the server asks for tokens; false until it was reached,
            and it refuses by itself.
    """

    def __init__(
        self,
        config: Config,
        outbox: Outbox,
        metrics: ProxyMetrics | None = None,
        paces: Paces | None = None,
    ) -> None:
        self._metrics = metrics or ProxyMetrics()
        self.outbox = outbox
        self.faults = Faults()
        self.people = People(outbox, self.faults, self._metrics, paces)
        self.rooms = Rooms(config, outbox, self.people)
        self.sends = UnconfirmedSends(config, self._give_up)
        self._questions = Questions(outbox)
        self.callers = Callers(config, outbox, self._questions)
        self._call_seconds = config.call_seconds
        self.guests: set[Client] = set()
        self.tokens_required = False
        self._presence = Presence(outbox)
        news = News(self.rooms, self._presence, self.faults, self._metrics)
        self._receiver = Receiver(
            self.rooms,
            self.sends,
            self.callers,
            self._questions,
            news,
            self.people,
            self.faults,
            self._metrics,
        )

    # Clients.

    def send(
        self, client: Client, message: ChatMessage, request_id: str | None, *, enter: bool = True
    ) -> None:
        """Sends a message, and puts the client into its room.

        Args:
            client: the sender.
            message: the message.
            request_id: the client's own id, which comes back on the answer.
            enter: whether the client may be in the room.

        Raises:
            Refused: the server is away, and no more is held for it.
        """
        self.sends.check()
        room_id, sender_id = message.room_id, message.sender_id
        if sender_id not in client.users and client.may_be(sender_id):
            self._presence.add(client, sender_id)
        ref = next(self.outbox.refs)
        if room_id in client.rooms:
            room = self.rooms.get(room_id)
            if room is not None and room.tentative:
                room.note_sent(client, ref, entered=False)
        elif enter:
            # The server answers the join before anything of the room comes, so
            # the client may be a member already.
            room = self.rooms.need(room_id)
            self.rooms.add_member(client, room)
            room.note_sent(client, ref, entered=True)
        size = _size(message) + len(request_id or "") * _LARGEST_CHARACTER
        send = UnconfirmedSend(ref, message, client, request_id, size)
        self.sends.add(send)
        self.outbox.put(send, size)
        self._metrics.received += 1

    async def change(
        self, caller: Caller | None, request: ChangeMessageRequest
    ) -> ChangeMessageResponse:
        """Changes a message for a client, as a call would, but in the batches of the link.

        Raises:
            Refused: the server refused, or did not answer in time.
        """
        self.sends.check()
        number = 0 if caller is None else caller.number
        return await self._questions.ask(
            ChangeMessageResponse,
            number,
            _size_of_change(request),
            self._call_seconds,
            change_message=request,
        )

    def types(self, room_id: str, user_id: str) -> None:
        """Tells that a user types in a room."""
        room = self.rooms.get(room_id)
        if room is not None:
            self.people.types(room, user_id)

    def close(self, client: Client) -> None:
        """Forgets a client. What it sent is still stored."""
        for room_id in tuple(client.rooms):
            self.rooms.remove_member(client, room_id)
        self._presence.remove(client)
        self.guests.discard(client)
        if client.caller is not None:
            self.callers.forget(client.caller)

    # The link.

    def connected(self, *, tokens_required: bool = False, presence: bool = True) -> None:
        """Tells a new link everything: rule 1.

        Args:
            tokens_required: whether the server asks for tokens.
            presence: whether the server is told now which users are there, in rooms as well;
                else that waits for `proven`.
        """
        self.tokens_required = tokens_required
        if tokens_required:
            # Before anything is sent: also those who are in no room, and wait.
            for guest in self.guests:
                self._dismiss(guest)
            self.guests.clear()
        self.sends.connected()
        callers = [send.client.caller for send in self.sends if send.client.caller is not None]
        self.callers.connected(callers)
        self._questions.connected()
        self._presence.connected(at_once=presence)
        self.people.connected(at_once=presence)
        self.rooms.connected()
        senders = set()
        for send in self.sends:
            self.outbox.put(send, send.size)
            if send.client.may_be(send.message.sender_id):
                senders.add(send.message.sender_id)
        self.callers.forget_leaving(callers)
        self._presence.resent(senders)

    def proven(self) -> None:
        """Notes that the link has lived for some seconds."""
        self._presence.proven()
        self.people.proven(self.rooms)

    def disconnected(self) -> None:
        """Notes that the link is lost: holds what clients send until there is another."""
        self.rooms.disconnected()
        self.sends.disconnected()

    def moving(self) -> None:
        """Notes that another link takes the place of this one at once: nothing is held."""
        self.rooms.disconnected()

    def receive(self, batch: RelayResponse) -> None:
        """Handles a batch of the server, and writes it to the clients.

        Raises:
            ProtocolViolation: the server left out something, or confirmed what was not sent.
        """
        self._receiver.receive(batch)

    def unanswered(self) -> Iterator[tuple[Key, int]]:
        """Yields the commands that the server has not answered, with their refs."""
        yield from self.callers.unanswered()
        yield from self._questions.unanswered()
        for room in self.rooms.unanswered():
            yield ("join", room.room_id), room.join_ref
        for send in self.sends:
            yield ("chat_message", send.ref), send.ref

    def carried(self) -> dict[Key, int]:
        """Returns those of the unanswered commands that are not in the outbox, with their refs."""
        waiting = {key for item in self.outbox if (key := key_of(item)) is not None}
        return {key: ref for key, ref in self.unanswered() if key not in waiting}

    def awaits(self, item: Item) -> bool:
        """Whether the server has not answered a command."""
        if isinstance(item, UnconfirmedSend):
            return self.sends.find(item.ref) is not None
        if isinstance(item.command, Join):
            return self.rooms.awaits(item.command.room_id, item.ref)
        return self.callers.awaits(item.ref) or self._questions.awaits(item.ref)

    def refuse(self, ref: int, error: Error) -> None:
        """Takes an error for the answer to a command."""
        self._receiver.refuse(ref, error)

    def _give_up(self, send: UnconfirmedSend) -> None:
        self._receiver.give_up(send)

    def _dismiss(self, guest: Client) -> None:
        try:
            guest.dismiss(errors.unauthenticated())
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self.faults.log("client not dismissed", error)


def _size(message: ChatMessage) -> int:
    """Returns how many bytes a message takes while it is kept; in a batch it takes less."""
    names = len(message.id) + len(message.room_id) + len(message.sender_id)
    size = utf8_length(message.content) + names * _LARGEST_CHARACTER + _OVERHEAD
    return size + extras.size_of(message.extra) if message.held_extra is not None else size


def _size_of_change(request: ChangeMessageRequest) -> int:
    value = request.change
    text = utf8_length(value) if isinstance(value, str) else 0
    names = len(request.room_id) + len(request.user_id)
    return text + names * _LARGEST_CHARACTER + COMMAND_BYTES
