"""The actions that `session` decides on and `connection` carries out."""

from typing import NamedTuple

import betterproto

from gen.chat import ChatMessage, Error, Join


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


class Type(NamedTuple):
    """Tell that a user types in a room that the client is in."""

    room_id: str
    user_id: str
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


class Expel(NamedTuple):
    """Answer with an error, and close the connection."""

    error: Error
    request_id: str | None


Action = Expel | Send | EnterRoom | LeaveRoom | Type | Renew | Ask | Refuse
