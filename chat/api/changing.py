"""Changes of messages, as both doors let them in: by a call, and in the batches of a proxy."""

from collections.abc import Sequence

from chat.access.identity import Identity
from chat.api.context import Context
from chat.core.extras import check_change
from chat.core.store_errors import not_stored, or_not_stored
from chat.storage.base import StoreError
from chat.storage.changes import Change
from gen.chat import ChangeMessageRequest, ChatMessage


async def admit_change(context: Context, caller: Identity, request: ChangeMessageRequest) -> Change:
    """Checks a request to change a message, as far as that needs not the message itself.

    It is a wait only where the user has an id that no new one may have.

    Args:
        context: the context.
        caller: who asks.
        request: what is asked; `user_id` is filled in.

    Raises:
        InvalidArgument: it breaks a rule; the text begins with the path within the request.
        PermissionDenied: the caller may not, whatever the message.
        Unavailable: the store could not be asked.
    """
    check_change(context.rules, request)
    request.user_id = await admit_user(context, caller, request.user_id)
    room_id = request.room_id
    if request.is_set("content"):
        caller.check_write(room_id, "room_id")
    else:
        caller.check_read(room_id, "room_id")
    return Change(request, is_moderator=caller.moderates(room_id))


async def admit_user(context: Context, caller: Identity, user_id: str) -> str:
    """Returns who asks: others see it, so it may not be a new id that looks like another.

    Raises:
        InvalidArgument, PermissionDenied, Unavailable: see `admit_change`.
    """
    user_id = caller.sender(user_id, "user_id")
    context.rules.identifier(user_id, "user_id")
    await context.legacy_ids.check_user(user_id, "user_id")
    return user_id


async def make_changes(
    context: Context, changes: Sequence[Change]
) -> Sequence[ChatMessage | Exception]:
    """Makes changes that came together; returns what became of each, see `make_change`."""
    made = await context.hub.store.change_all(changes)
    return [not_stored(each, "change") if isinstance(each, StoreError) else each for each in made]


async def make_change(context: Context, change: Change) -> ChatMessage:
    """Makes a change; returns the message as it stands.

    Raises:
        ChatError: see `Store.change`, and `changes.decide`; it could not be stored.
    """
    return await or_not_stored(context.hub.store.change(change), "change")
