"""One client's frames, turned into what is to be done: no I/O.

==================  =======================================================
frame               what is to be done
==================  =======================================================
`chat_message`      `Send`, unless the client would be in too many rooms, or be
                    too many users
`join`              `EnterRoom`, likewise
`leave`             `LeaveRoom`
`authenticate`      `Renew`
a unary call        `Ask`
anything wrong      `Refuse`; the connection goes on
==================  =======================================================
"""

from __future__ import annotations

import uuid
from collections.abc import Container
from typing import NamedTuple

import betterproto
import orjson

import codec
from gen.chat import Authenticate, ChatMessage, ClientFrame, Error, Join, Leave
from proxy import errors


class Send(NamedTuple):
    """Send this message, which has an id, and join its room."""

    message: ChatMessage
    request_id: str | None


class EnterRoom(NamedTuple):
    """Join a room."""

    join: Join
    request_id: str | None


class LeaveRoom(NamedTuple):
    """Leave a room."""

    room_id: str
    request_id: str | None


class Renew(NamedTuple):
    """Go on with another token."""

    token: str
    request_id: str | None


class Ask(NamedTuple):
    """Make the unary call that the field of this name asks for."""

    field: str
    request: betterproto.Message
    request_id: str | None


class Refuse(NamedTuple):
    """Answer with an error."""

    error: Error
    request_id: str | None


Action = Send | EnterRoom | LeaveRoom | Renew | Ask | Refuse


class Session:
    """What one connection may do, and is doing.

    Args:
        frame_bytes: the largest frame.
        max_rooms: how many rooms it may be in.
        calls: the names of the fields that ask for unary calls.
        max_users: as how many users it may send.

    Attributes:
        rooms: the rooms that it is in.
        users: the users that it has sent as.
    """

    def __init__(
        self, frame_bytes: int, max_rooms: int, calls: Container[str], max_users: int = 1000
    ) -> None:
        self.rooms: set[str] = set()
        self.users: set[str] = set()
        self._frame_bytes = frame_bytes
        self._max_rooms = max_rooms
        self._max_users = max_users
        self._calls = calls

    def receive(self, data: bytes) -> Action:
        """Decides what a text frame asks for.

        Args:
            data: the payload of the frame, not yet known to be UTF-8.
        """
        if len(data) > self._frame_bytes:
            text = f"frame: must have at most {self._frame_bytes} bytes"
            return Refuse(errors.invalid(text), _request_id(data))
        try:
            frame = codec.from_json(ClientFrame, data)
        except codec.DecodeError as error:
            text = str(error) if error.path else f"frame: {error}"
            return Refuse(errors.invalid(text), _request_id(data))
        return self._decide(frame)

    def receive_binary(self) -> Action:
        """Decides what a binary frame asks for: nothing."""
        return Refuse(errors.invalid("frame: must be text, not binary"), None)

    def _decide(self, frame: ClientFrame) -> Action:
        payload = codec.member_of(frame, "payload")
        request_id: str | None = codec.fields_of(frame)["request_id"]
        if type(payload) is ChatMessage:
            return self._send(payload, request_id)
        match payload:
            case Join():
                if self._too_many(payload.room_id):
                    return self._refuse_room("join", request_id)
                return EnterRoom(payload, request_id)
            case Leave() if not payload.room_id:
                return Refuse(errors.invalid("leave.room_id: must not be empty"), request_id)
            case Leave():
                return LeaveRoom(payload.room_id, request_id)
            case Authenticate():
                return Renew(payload.token, request_id)
            case betterproto.Message():
                name, _ = betterproto.which_one_of(frame, "payload")
                if name in self._calls:
                    return Ask(name, payload, request_id)
        return Refuse(
            errors.invalid("frame: expected one payload, such as chat_message"), request_id
        )

    def _send(self, message: ChatMessage, request_id: str | None) -> Action:
        fields = codec.fields_of(message)
        if self._too_many(fields["room_id"]):
            return self._refuse_room("chat_message", request_id)
        if len(self.users) >= self._max_users and fields["sender_id"] not in self.users:
            return self._refuse_user(request_id)
        if not fields["id"]:
            # Given here and not by the server, so that sending it again
            # after the link was lost is recognised.
            fields["id"] = uuid.uuid4().hex
        return Send(message, request_id)

    def _too_many(self, room_id: str) -> bool:
        return len(self.rooms) >= self._max_rooms and room_id not in self.rooms

    def _refuse_room(self, field: str, request_id: str | None) -> Refuse:
        text = f"{field}.room_id: a connection may be in at most {self._max_rooms} rooms"
        return Refuse(errors.exhausted(text), request_id)

    def _refuse_user(self, request_id: str | None) -> Refuse:
        text = f"a connection may send as at most {self._max_users} users"
        return Refuse(errors.exhausted(f"chat_message.sender_id: {text}"), request_id)


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
