"""What becomes of a message when somebody asks to change it: pure decisions.

A request says what is to hold from now on (`ChangeMessageRequest`), so it may come twice: if it
holds already, nothing changes, and no number is used. `decide` is the only place that knows the
rules; each engine brings it the message as it stands, and stores what it returns.

==================  ==========================  ==========================================
asked               by                          of a deleted message
==================  ==========================  ==========================================
`content`           the sender                  FAILED_PRECONDITION
`delete`            the sender, a moderator     holds already
`react`             anybody who may read        FAILED_PRECONDITION
`unreact`           anybody who may read        holds already
`pinned`            a moderator                 true: FAILED_PRECONDITION; false: holds already
==================  ==========================  ==========================================

A deleted message keeps its place, its id and its sender: the idempotency key goes on to hold,
and gives the tombstone back. Its text, its extra and its reactions are gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate
from typing import Final, NamedTuple

import betterproto

from chat.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from codec.columns import utf8_length
from codec.objects import NO_TIMESTAMP
from gen.chat import (
    ChangeMessageRequest,
    ChatMessage,
    MessageChange,
    MessageExtra,
    MessageState,
    Reaction,
)

MOST_KINDS: Final = 50
"""How many kinds of reactions a message may have."""
NAMED: Final = 20
"""How many of those who reacted with one kind are named in the state of a message."""
NAMES_BYTES: Final = 4 * 1024
"""How much the names in a state may take, in UTF-8: each change tells all of them anew."""
MOST_MENTIONS: Final = 100
"""How many unread messages that mention a user are counted."""

# In UTF-8.
_LARGEST_CHARACTER: Final = 4


@dataclass(frozen=True, slots=True)
class Change:
    """A request to change a message, by somebody whose rights in the room are known.

    Attributes:
        request: with the user who asks.
        is_moderator: whether the user moderates the room.
    """

    request: ChangeMessageRequest
    is_moderator: bool = False


class Reactors(NamedTuple):
    """Those who react to a message with the kind that a request is about.

    Attributes:
        first: the first of them, in the order in which they came; `NAMED` + 1 of them, if there
            are so many.
        reacts: whether the user of the request is among all of them.
    """

    first: Sequence[str] = ()
    reacts: bool = False


class Outcome(NamedTuple):
    """What a change makes of a message.

    Attributes:
        message: as it stands now; a new object.
        change: the same, as it is told: with the text if that changed.
    """

    message: ChatMessage
    change: MessageChange

    @property
    def is_deletion(self) -> bool:
        """Whether nothing is left of the message: reactions and mentions go, too."""
        return is_deleted(self.message)


def extra_of(message: ChatMessage) -> MessageExtra | None:
    """Returns what a message has beside its text, if anything."""
    if message.held_extra is None:
        return None
    extra = message.extra
    return extra if betterproto.serialized_on_wire(extra) else None


def state_of(message: ChatMessage) -> MessageState | None:
    """Returns what became of a message; `None` if it never changed."""
    extra = extra_of(message)
    state = None if extra is None else extra.held_state
    return state if state is not None and betterproto.serialized_on_wire(state) else None


def is_deleted(message: ChatMessage) -> bool:
    """Whether a message was deleted."""
    state = state_of(message)
    return state is not None and state.deleted_at is not NO_TIMESTAMP


def is_for(message: ChatMessage, user_id: str) -> bool:
    """Whether a message mentions a user, or everyone in the room; not if the user sent it."""
    extra = extra_of(message)
    if extra is None or message.sender_id == user_id:
        return False
    return extra.mentions_room or user_id in extra.mentions


def change_of(message: ChatMessage, after_change: int, text_change: int) -> MessageChange:
    """Returns a message that changed, as it is told.

    Args:
        message: as it stands.
        after_change: what is told begins behind this change. In a page it counts as 0: an edit
            of before may be in none of the pages, as its message is told where it changed last.
        text_change: the last change of its text; 0 for none.
    """
    content = message.content if text_change > after_change else None
    return MessageChange(message.seq, content, state_of(message))


def no_message(request: ChangeMessageRequest) -> NotFound:
    """The error of a request for a message that there is not."""
    return NotFound(f"seq: room {request.room_id} has no message {request.seq}")


def needs_reactors(request: ChangeMessageRequest) -> str:
    """Returns the kind of reaction that a request is about; empty if it is about none."""
    kind, value = betterproto.which_one_of(request, "change")
    return str(value) if kind in ("react", "unreact") else ""


def decide(
    message: ChatMessage, change: Change, reactors: Reactors, number: int, now: datetime
) -> Outcome | None:
    """Decides on a change.

    Args:
        message: as it stands; it is not touched.
        change: what is asked.
        reactors: see there; needed where `needs_reactors` says so.
        number: the number of the change, if it is one.
        now: its time.

    Returns:
        What it makes of the message; `None` if what is asked holds already.

    Raises:
        PermissionDenied: the user may not.
        FailedPrecondition: the message was deleted, or changed since `if_change`.
        ResourceExhausted: the message has as many kinds of reactions as it may.
        InvalidArgument: nothing is asked.
    """
    request = change.request
    _check_rights(message, change)
    before = state_of(message)
    if before is None:
        before = MessageState()
    if is_deleted(message):
        if _is_nothing_left_enough(request):
            return None
        raise FailedPrecondition("seq: the message was deleted")
    told = _applied(message, before, request, reactors, number, now)
    if told is None:
        return None
    if request.if_change not in (None, before.change):
        raise FailedPrecondition(
            f"if_change: the message has change {before.change}, not {request.if_change}"
        )
    return Outcome(with_change(message, told), told)


def with_change(message: ChatMessage, change: MessageChange) -> ChatMessage:
    """Returns a message as a change leaves it; the message itself is not touched."""
    extra = extra_of(message)
    if extra is None or change.state.deleted_at is not NO_TIMESTAMP:
        extra = MessageExtra()
    content = message.content if change.content is None else change.content
    return replace(message, content=content, extra=replace(extra, state=change.state))


def _applied(
    message: ChatMessage,
    before: MessageState,
    request: ChangeMessageRequest,
    reactors: Reactors,
    number: int,
    now: datetime,
) -> MessageChange | None:
    """Returns what a request makes of a message that is there; `None` if it holds already."""
    kind, value = betterproto.which_one_of(request, "change")
    after = replace(before, change=number)
    content: str | None = None
    if isinstance(value, str) and kind == "content":
        if value == message.content:
            return None
        content, after.edited_at = value, now
    elif isinstance(value, str):
        if reactors.reacts == (kind == "react"):
            return None
        after.reactions = _reactions(before.reactions, value, request.user_id, reactors)
    elif isinstance(value, bool):
        if value == before.pinned:
            return None
        after.pinned = value
    else:
        content = ""
        is_own = request.user_id == message.sender_id
        deleted_by = None if is_own else request.user_id
        after = MessageState(change=number, deleted_at=now, deleted_by=deleted_by)
    return MessageChange(message.seq, content, after)


def _is_nothing_left_enough(request: ChangeMessageRequest) -> bool:
    """Whether what is asked holds for a message of which nothing is left."""
    kind, value = betterproto.which_one_of(request, "change")
    return kind in ("delete", "unreact") or value is False


def _check_rights(message: ChatMessage, change: Change) -> None:
    is_sender = change.request.user_id == message.sender_id
    kind, _ = betterproto.which_one_of(change.request, "change")
    if not kind:
        raise InvalidArgument("change", "expected one of content, delete, react, unreact, pinned")
    if kind == "content" and not is_sender:
        raise PermissionDenied("content", "only the sender may edit a message")
    if kind == "delete" and not (is_sender or change.is_moderator):
        raise PermissionDenied("delete", "only the sender or a moderator may delete a message")
    if kind == "pinned" and not change.is_moderator:
        raise PermissionDenied("pinned", "only a moderator may pin a message")


def _reactions(
    before: Sequence[Reaction], emoji: str, user_id: str, reactors: Reactors
) -> list[Reaction]:
    """Returns the reactions of a message once a user has changed its mind."""
    after = list(before)
    at = next((nth for nth, each in enumerate(after) if each.emoji == emoji), None)
    if reactors.reacts:
        if at is None:
            raise AssertionError("a reaction is counted nowhere")
        rest = [each for each in reactors.first if each != user_id][:NAMED]
        count = after[at].count - 1
        after[at : at + 1] = [Reaction(emoji, count, rest)] if count else []
    elif at is not None:
        first = [*reactors.first, user_id][:NAMED]
        after[at] = Reaction(emoji, after[at].count + 1, first)
    elif len(after) == MOST_KINDS:
        raise ResourceExhausted(
            f"react: a message may have at most {MOST_KINDS} kinds of reactions"
        )
    else:
        after.append(Reaction(emoji, 1, [user_id]))
    return _bounded(after)


def _bounded(reactions: Sequence[Reaction]) -> list[Reaction]:
    """Leaves out names that would be too much; those of the first kinds stay.

    A kind has them again when it changes next, if there is room.
    """
    characters = sum([len("".join(each.user_ids)) for each in reactions])
    if characters * _LARGEST_CHARACTER <= NAMES_BYTES:
        return list(reactions)
    left = NAMES_BYTES
    bounded = []
    for reaction in reactions:
        named = len(reaction.user_ids)
        sizes = accumulate(map(utf8_length, reaction.user_ids))
        fitting = [size for size in sizes if size <= left]
        if len(fitting) < named:
            names = reaction.user_ids[: len(fitting)]
            reaction = Reaction(reaction.emoji, reaction.count, names)
        left -= fitting[-1] if fitting else 0
        bounded.append(reaction)
    return bounded
