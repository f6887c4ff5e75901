"""Batches of the server, brought to the clients that they concern: no I/O.

==================  =====================================================================
event               meaning
==================  =====================================================================
`stored`            own messages have positions; their rooms get them, and the senders
                    their answers. They did not have to come back whole
`chat_message`      a message of somebody else for a room; or, if it names a command, the
                    answer to a send that nobody else gets: it was stored before, or the
                    sender is not in the room
`joined`            a room is live, or there is a gap for its members
`error`             a command is refused: a send, a join, or one of `questions` and `callers`
`authenticated`,    answers to `questions`, or for `callers`
`admitted`,
`changed_message`,
`changed_together`
`changes`, `reads`  for the followers of a room (`news`)
`to_user`           for the followers of a room that are one user
`typists`,          who types and who is there, for the followers of a room; and whether the
`room_presence`,    server needs names of who is there (`people`)
`wanted`
==================  =====================================================================

The messages of a batch leave it together (`Fanout`), but in order: whatever else is told a
client is written behind them. What fails for one event costs the client or room that it
concerns, and nobody else.
"""

from functools import partial

from gen.chat import (
    Admitted,
    Authenticated,
    ChangedTogether,
    ChangeMessageResponse,
    ChatMessage,
    Error,
    Joined,
    Reads,
    RelayEvent,
    RelayResponse,
    RoomChanges,
    RoomPresence,
    Stored,
    ToUser,
    Typists,
    Wanted,
)
from hosting.faults import Faults
from hosting.logs import get_logger
from hosting.metadata import of_request
from proxy import errors
from proxy.core import frames
from proxy.core.callers import Callers
from proxy.core.fanout import Fanout
from proxy.core.news import News
from proxy.core.people import People
from proxy.core.questions import Answer, Questions
from proxy.core.room import Lost, ProtocolViolation, Room
from proxy.core.rooms import Rooms
from proxy.core.unconfirmed import UnconfirmedSend, UnconfirmedSends
from proxy.metrics import ProxyMetrics

log = get_logger(__name__)


class Receiver:
    """Handles what the server says."""

    def __init__(
        self,
        rooms: Rooms,
        sends: UnconfirmedSends,
        callers: Callers,
        questions: Questions,
        news: News,
        people: People,
        faults: Faults,
        metrics: ProxyMetrics,
    ) -> None:
        self._rooms = rooms
        self._sends = sends
        self._callers = callers
        self._questions = questions
        self._news = news
        self._people = people
        self._faults = faults
        self._metrics = metrics

    def receive(self, batch: RelayResponse) -> None:
        """Handles a batch, and writes it to the clients.

        Raises:
            ProtocolViolation: the server left out something, or confirmed what was not sent.
        """
        self._metrics.received_batches.observe(len(batch.events))
        fanout = Fanout(self._metrics, self._faults)
        try:
            for event in batch.events:
                try:
                    self._handle(event, fanout)
                except ProtocolViolation:
                    raise
                except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                    self._failed(event, error)
        finally:
            # Messages before a gap count as delivered.
            fanout.write()
            self._sends.wake_waiters()

    def refuse(self, ref: int, error: Error) -> None:
        """Takes an error for the answer to a command."""
        if not self._answered(ref, error):
            self._command_refused(ref, error)
        self._sends.wake_waiters()

    def give_up(self, send: UnconfirmedSend) -> None:
        """Answers a send that was held for too long; it may have been stored."""
        self._confirm_entry(send)
        self._tell_error(send, errors.unavailable())

    def _handle(self, event: RelayEvent, fanout: Fanout) -> None:
        payload = event.event
        ref = event.ref
        if type(payload) is ChatMessage:
            if ref:
                # It must not overtake what came before it.
                fanout.write()
                send = self._sends.confirm(ref)
                room = None if send is None else self._rooms.get(send.message.room_id)
                self._deliver(room, payload, send, None)
            else:
                self._arrived(payload, fanout)
        elif type(payload) is Stored:
            self._stored(payload, fanout)
        elif type(payload) is ChangedTogether:
            answer = ChangeMessageResponse(payload.message)
            for each in payload.refs:
                self._answered(each, answer)
        elif isinstance(payload, ChangeMessageResponse | Authenticated | Admitted):
            self._answered(ref, payload)
        elif isinstance(payload, Joined):
            # Members may have to hear of it behind what they got before.
            fanout.write()
            self._joined(ref, payload)
        elif isinstance(payload, Error):
            if not self._answered(ref, payload):
                self._command_refused(ref, payload)
        else:
            self._told(payload, fanout)

    def _answered(self, ref: int, answer: Answer | Error) -> bool:
        """Returns whether this was the answer to a question."""
        return self._questions.answered(ref, answer) or self._callers.answered(ref, answer)

    def _failed(self, event: RelayEvent, error: Exception) -> None:
        self._faults.log("event failed", error)
        if event.ref:
            try:
                self.refuse(event.ref, errors.internal())
            except Exception as worse:  # noqa: BLE001 - likewise
                self._faults.log("client not told of a failure", worse)

    def _told(self, payload: object, fanout: Fanout) -> None:
        """Brings followers what is told beside messages, behind those that came before it."""
        if isinstance(payload, RoomChanges):
            room = self._rooms.get(payload.room_id)
            if room is not None and room.advance_changes(payload):
                fanout.add_behind(partial(self._news.changed, room, payload))
        elif isinstance(payload, Reads):
            fanout.add_behind(partial(self._news.read, payload))
        elif isinstance(payload, ToUser):
            fanout.add_behind(partial(self._news.marked, payload))
        elif isinstance(payload, Typists | RoomPresence | Wanted):
            room = self._rooms.get(payload.room_id)
            if room is not None:
                fanout.add_behind(partial(self._people.hear, room, payload))

    # Messages.

    def _stored(self, stored: Stored, fanout: Fanout) -> None:
        sent_at = stored.sent_at
        if len(stored.refs) != len(stored.seqs):
            raise ProtocolViolation(
                "a confirmation has another number of commands than of positions"
            )
        for ref, seq in zip(stored.refs, stored.seqs, strict=True):
            send = self._sends.find(ref)
            if send is None:
                raise ProtocolViolation(f"the message of command {ref} is not known")
            message = send.message
            room = self._rooms.get(send.message.room_id)
            # Before it is confirmed: past a gap nothing counts as answered.
            is_new = room is not None and room.advance(seq)
            self._sends.confirm(ref)
            message.seq = seq
            message.sent_at = sent_at
            self._deliver(room, message, send, fanout if is_new else None)

    def _arrived(self, message: ChatMessage, fanout: Fanout) -> None:
        room = self._rooms.get(message.room_id)
        is_new = room is not None and room.advance(message.seq)
        send = self._sends.confirm_message(message)
        self._deliver(room, message, send, fanout if is_new else None)

    def _deliver(
        self,
        room: Room | None,
        message: ChatMessage,
        send: UnconfirmedSend | None,
        fanout: Fanout | None,
    ) -> None:
        """Brings a stored message to its room, or else to its sender.

        Args:
            room: its room, if somebody is in it.
            message: the message.
            send: the send that it confirmed, if it came from here.
            fanout: brings it to the members; `None` if it is not new to them.
        """
        try:
            if room is not None:
                if send is not None:
                    client = send.client
                    if room.tentative:
                        room.keep_member(client)
                    # Both are known of nearly each message: it costs a look.
                    users = room.attendance.users.get(client)
                    if users is None or message.sender_id not in users:
                        self._people.sent(client, room, message.sender_id)
                if fanout is not None and fanout.add(room, message, send):
                    return
            if send is not None:
                send.client.write(frames.message(message, send.request_id))
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._faults.log("message not delivered", error)
            if send is not None:
                self._tell_error(send, errors.internal())
            if room is not None and fanout is not None and not _can_be_framed(message):
                self._tell_gap(room, fanout)

    def _tell_gap(self, room: Room, fanout: Fanout) -> None:
        """Tells the members of a gap: nobody can be told the message that comes next."""
        fanout.write()
        self._metrics.room_resumes["lost"] += 1
        self._news.lost(room)
        room.note_delivered()

    # Rooms.

    def _joined(self, ref: int, joined: Joined) -> None:
        room = self._rooms.room_of_join(ref)
        if room is None:
            return
        resumed = bool(room.epoch)
        lost = room.joined(joined)
        if resumed:
            self._metrics.room_resumes["lost" if lost is Lost.ALL else "recovered"] += 1
        self._people.joined(room)
        if lost is not Lost.NOTHING:
            self._news.lost(room, changes_alone=lost is Lost.CHANGES)

    # Refusals.

    def _command_refused(self, ref: int, error: Error) -> None:
        send = self._sends.find(ref)
        if send is not None:
            self._send_refused(send, error)
        elif (room := self._rooms.room_of_join(ref)) is not None:
            self._rooms.join_refused(room, error)

    def _send_refused(self, send: UnconfirmedSend, error: Error) -> None:
        client = send.client
        if client.count_refusal(error):
            with of_request(send.request_id):
                code = error.code.name
                log.debug("frame refused", connection=client.connection_id, ref=send.ref, code=code)
        self._tell_error(send, error)
        self._sends.confirm(send.ref)
        if error.retry_after_ms is not None:
            client.note_rate_limited()
        if error.retryable:
            self._confirm_entry(send)
        else:
            self._undo_entry(send)

    def _confirm_entry(self, send: UnconfirmedSend) -> None:
        """Leaves a client in a room although its message was not stored: it may come again."""
        room = self._rooms.get(send.message.room_id)
        if room is not None:
            room.keep_member(send.client)

    def _undo_entry(self, refused: UnconfirmedSend) -> None:
        """Takes a client out of a room again into which only refused messages put it."""
        room = self._rooms.get(refused.message.room_id)
        if room is not None and not room.remains_without(refused.client, refused.ref):
            self._rooms.remove_member(refused.client, room.room_id)

    def _tell_error(self, send: UnconfirmedSend, error: Error) -> None:
        told = self._metrics.count_error(error)
        try:
            frame = frames.error(told, send.request_id)
        except Exception as failure:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._faults.log("answer not encoded", failure)
            frame = frames.error(told, None)
        send.client.write(frame)


def _can_be_framed(message: ChatMessage) -> bool:
    try:
        frames.message(message)
    except Exception:  # noqa: BLE001 - it was logged already
        return False
    return True
