"""What a message has beside its text, as both doors let it in."""

from chat.access.identity import Identity
from chat.api.context import Context
from chat.core.extras import check_extra
from chat.core.store_errors import or_unavailable
from chat.errors import InvalidArgument, PermissionDenied
from gen.chat import ChatMessage


async def admit_extra(context: Context, caller: Identity, message: ChatMessage) -> None:
    """Checks what a message has beside its text, and whether its sender may say so.

    What the server alone may set is taken away. Only a reply may have to ask the store.

    Raises:
        InvalidArgument: it breaks a rule, or answers a message that there is not.
        PermissionDenied: it is for everyone in the room, and the sender is no moderator.
        Unavailable: the store could not be asked.
    """
    extra = check_extra(context.rules, message)
    if extra is None:
        return
    if extra.mentions_room and not caller.moderates(message.room_id):
        path = "chat_message.extra.mentions_room"
        raise PermissionDenied(path, "only a moderator may mention everyone in a room")
    if extra.reply_to is not None and not await _exists(context, message.room_id, extra.reply_to):
        path = "chat_message.extra.reply_to"
        raise InvalidArgument(path, f"the room has no message {extra.reply_to}")


async def _exists(context: Context, room_id: str, seq: int) -> bool:
    room = context.hub.rooms.get(room_id)
    # What somebody was told exists. Other nodes may have stored more.
    if room is not None and room.last_seq is not None and seq <= room.last_seq:
        return True
    return seq <= await or_unavailable(context.hub.store.last_seq(room_id))
