"""Decides on each frame of one client: no I/O.

==================  =======================================================
frame               action
==================  =======================================================
`chat_message`      `Send`, unless the client would be in too many rooms, or be
                    too many users
`join`              `EnterRoom`, unless it would be in too many rooms
`leave`             `LeaveRoom`
`typing`            `Type`, if the client is in the room
`authenticate`      `Renew`
a unary call        `Ask`
anything wrong      `Refuse`; the connection goes on
too many frames     `Refuse`, which says when to come back; `Expel` if the
                    client goes on regardless
==================  =======================================================

A frame is charged to an allowance before anything else is done for it. A large frame counts as
several, and a wrong one as more: what a client makes the proxy read, it pays for.

==========================  ==========  ===============================================
frame                       charged to  with nothing left
==========================  ==========  ===============================================
`chat_message`              `sends`     `Refuse`
`join`                      `joins`     `Refuse`
anything else, or wrong     `calls`     `Refuse`
`get_chat_history`,         `history`   the next one: `Refuse`, until it is paid for
`get_changes` and
`list_rooms` as well
refused as one too many     `refusals`  `Expel`: the client does not listen
==========================  ==========  ===============================================

A refusal tells how long to wait. A client that does wait is never expelled.
"""

import time
import uuid
from collections.abc import Callable, Container
from typing import Final, cast

import betterproto
import orjson

import codec
from gen.chat import (
    Authenticate,
    ChatMessage,
    ClientFrame,
    Join,
    JoinFollow,
    Leave,
    Typing,
)
from hosting.rate_limits import (
    CALLS,
    HISTORY,
    JOINS,
    MESSAGES,
    Allowance,
    AnyAllowance,
    AnyBucket,
    Rates,
)
from proxy import errors
from proxy.clients.actions import (
    Action,
    Ask,
    EnterRoom,
    Expel,
    LeaveRoom,
    Refuse,
    Renew,
    Send,
    Type,
)
from proxy.clients.typing_limit import TypingLimit
from proxy.core import extras, user_ids
from proxy.core.call_table import CHANGES_CALL, HISTORY_CALL, ROOMS_CALL
from proxy.core.followers import wants_changes

# For people who leave it out, or do not know that there is one.
_ENVELOPE: Final = (
    'expected one payload, such as {"chat_message": '
    '{"room_id": "lobby", "sender_id": "ada", "content": "hello"}}'
)
# So many bytes of a frame are charged as one more frame. The first of them are free, and as
# many again: by default a text may have that many, and there are its escapes and the envelope.
# A wrong frame is charged for fewer bytes: the worst takes a hundred times as long to read as
# the largest message.
_CHARGED_BYTES: Final = 16 * 1024
_CHARGED_BYTES_OF_WRONG: Final = 1024

_READING_CALLS: Final = (HISTORY_CALL, CHANGES_CALL, ROOMS_CALL)
_FOLLOWS: Final = frozenset(map(int, JoinFollow))


class Session:
    """The rooms, users and allowances of one connection.

    Args:
        frame_bytes: the largest frame, in bytes.
        max_rooms: the most rooms that it may be in.
        calls: the names of the fields that ask for unary calls.
        max_users: the most users that it may send as.
        allowance: pays for its frames; without one they are free.
        clock: returns the time in seconds.

    Attributes:
        rooms: the rooms that it is in.
        users: the users that it has sent as.
    """

    def __init__(
        self,
        frame_bytes: int,
        max_rooms: int,
        calls: Container[str],
        max_users: int = 1000,
        *,
        allowance: AnyAllowance | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowance: AnyAllowance = allowance or Allowance(Rates())
        self._clock = clock
        self.rooms: set[str] = set()
        self.users: set[str] = set()
        self._frame_bytes = frame_bytes
        self._max_rooms = max_rooms
        self._max_users = max_users
        self._calls = calls
        self._typing = TypingLimit()

    def receive(self, data: bytes) -> Action:
        """Decides on a text frame.

        Args:
            data: the payload of the frame, not yet known to be UTF-8.
        """
        extra = _price_beyond_one(data)
        if len(data) > self._frame_bytes:
            # It is not looked into: that would cost as much as a valid one.
            return self._refuse(f"frame: must have at most {self._frame_bytes} bytes", extra)
        try:
            frame = codec.from_json(ClientFrame, data)
        except codec.DecodeError as error:
            return self._refuse(_explained(error), price_of_wrong(data) - 1, data)
        return self._decide(frame, extra, data)

    def receive_binary(self, data: bytes = b"") -> Action:
        """Refuses a binary frame."""
        return self._refuse("frame: must be text, not binary", _price_beyond_one(data))

    def charge_refusal(self, extra: int = 0) -> bool:
        """Charges a refusal for asking too often; returns whether the client may stay.

        Args:
            extra: the price of a large wrong frame beyond the first.
        """
        return self._take(self._allowance.refusals, extra) == 0

    def may_type(self, room_id: str) -> bool:
        """Returns whether it may be told now that somebody types in a room; notes it."""
        return self._typing.take(room_id, self._clock())

    def charge_history(self, messages: int) -> None:
        """Charges messages that were read from the history."""
        self._allowance.history.spend(self._clock(), messages)

    def history_wait(self) -> float:
        """Returns the seconds until the history that was read is paid for."""
        return self._allowance.history.owes(self._clock())

    def _decide(self, frame: ClientFrame, extra: int, data: bytes) -> Action:
        payload = frame.payload
        request_id: str | None = frame.request_id
        if type(payload) is ChatMessage:
            if payload.held_extra is not None and extras.clean(payload):
                # What no client has to send may take as long to read as a wrong frame.
                extra = price_of_wrong(data) - 1
            wait = self._take(self._allowance.sends, extra)
            if wait:
                return self._limit(MESSAGES, wait, request_id)
            return self._send(payload, request_id)
        bucket, what = self._allowance.calls, CALLS
        if type(payload) is Join:
            bucket, what = self._allowance.joins, JOINS
            if len(payload.follow) > len(_FOLLOWS):
                extra = price_of_wrong(data) - 1
        wait = self._take(bucket, extra)
        if wait:
            return self._limit(what, wait, request_id)
        return self._decide_other(frame, payload, request_id)

    def _decide_other(self, frame: ClientFrame, payload: object, request_id: str | None) -> Action:
        name, _ = betterproto.which_one_of(frame, "payload")
        if name in self._calls:
            if name in _READING_CALLS and (wait := self.history_wait()):
                return self._limit(HISTORY, wait, request_id)
            return Ask(name, cast("betterproto.Message", payload), request_id)
        match payload:
            case Join():
                return self._join(payload, request_id)
            case Leave() if not payload.room_id:
                return Refuse(errors.invalid("leave.room_id: must not be empty"), request_id)
            case Leave():
                return LeaveRoom(payload.room_id, request_id)
            case Typing():
                return self._type(payload, request_id)
            case Authenticate():
                return Renew(payload.token, request_id)
        return Refuse(errors.invalid(f"frame: {_ENVELOPE}"), request_id)

    def _join(self, join: Join, request_id: str | None) -> Action:
        if fault := _fault_of(join):
            return Refuse(errors.invalid(fault), request_id)
        if self._too_many(join.room_id):
            return self._refuse_room("join", request_id)
        return EnterRoom(join, request_id)

    def _type(self, typing: Typing, request_id: str | None) -> Action:
        room_id, user_id = typing.room_id, typing.user_id
        if not room_id:
            return Refuse(errors.invalid("typing.room_id: must not be empty"), request_id)
        if room_id not in self.rooms:
            return Refuse(errors.precondition("typing.room_id: is not joined"), request_id)
        if fault := user_ids.fault_of(user_id):
            return Refuse(errors.invalid(f"typing.user_id: {fault}"), request_id)
        return Type(room_id, user_id, request_id)

    def _send(self, message: ChatMessage, request_id: str | None) -> Action:
        if self._too_many(message.room_id):
            return self._refuse_room("chat_message", request_id)
        if len(self.users) >= self._max_users and message.sender_id not in self.users:
            return self._refuse_user(request_id)
        if not message.id:
            # Given here and not by the server, so that sending it again
            # after the link was lost is recognised.
            message.id = uuid.uuid4().hex
        return Send(message, request_id)

    def _take(self, bucket: AnyBucket, extra: int) -> float:
        """Charges a frame; returns the seconds to wait if nothing is left."""
        now = self._clock()
        wait = bucket.take(now)
        if extra and not wait:
            bucket.spend(now, extra)
        return wait

    def _limit(self, what: str, wait: float, request_id: str | None) -> Action:
        """Refuses a frame that the allowance does not pay for."""
        kind = Refuse if self.charge_refusal() else Expel
        return kind(errors.limited(what, wait), request_id)

    def _refuse(self, text: str, extra: int, data: bytes = b"") -> Action:
        """Refuses a frame that is wrong, which counts as a call.

        Args:
            text: the rule that it breaks, and its field.
            extra: its price beyond the first.
            data: the frame, which may have a request id.
        """
        wait = self._take(self._allowance.calls, extra)
        if wait and not self.charge_refusal(extra):
            return Expel(errors.limited(CALLS, wait), None)
        error = errors.limited(CALLS, wait) if wait else errors.invalid(text)
        return Refuse(error, _request_id(data))

    def _too_many(self, room_id: str) -> bool:
        return len(self.rooms) >= self._max_rooms and room_id not in self.rooms

    def _refuse_room(self, field: str, request_id: str | None) -> Refuse:
        text = f"{field}.room_id: a connection may be in at most {self._max_rooms} rooms"
        return Refuse(errors.exhausted(text), request_id)

    def _refuse_user(self, request_id: str | None) -> Refuse:
        text = f"a connection may send as at most {self._max_users} users"
        return Refuse(errors.exhausted(f"chat_message.sender_id: {text}"), request_id)


def _price_beyond_one(data: bytes) -> int:
    """The price of a large frame beyond the first."""
    return max(len(data) // _CHARGED_BYTES - 1, 0)


def price_of_wrong(data: bytes) -> int:
    """The price of a wrong frame; 1 is a small one."""
    return 1 + len(data) // _CHARGED_BYTES_OF_WRONG


def _fault_of(join: Join) -> str:
    """Returns the rule that a `join` breaks, and its field; empty if it breaks none."""
    seen: set[int] = set()
    for each in map(int, join.follow):
        if each not in _FOLLOWS:
            return f"join.follow: {each} is nothing that can be followed"
        if each in seen:
            return f"join.follow: has {JoinFollow(each).name} more than once"
        seen.add(each)
    if join.after_change is not None and (join.after_seq is None or not wants_changes(join)):
        return "join.after_change: needs after_seq, and CHANGES in follow"
    fault = user_ids.fault_of(join.user_id)
    return f"join.user_id: {fault}" if fault else ""


def _request_id(data: bytes) -> str | None:
    """Finds the request id of a frame that is wrong elsewhere."""
    try:
        frame = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(frame, dict):
        return None
    request_id = frame.get("request_id", frame.get("requestId"))
    return request_id if isinstance(request_id, str) else None


def _explained(error: codec.DecodeError) -> str:
    """Explains an error in a frame; if it is none at all, also shows one."""
    if not error.path:
        return f"frame: {error}; {_ENVELOPE}"
    is_outermost = error.reason == "unknown field" and "." not in error.path
    return f"{error}; {_ENVELOPE}" if is_outermost else str(error)
