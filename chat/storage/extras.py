"""What messages have beside their texts, as engines store it: two encodings, that become one field.

What the sender added never changes, and what became of the message does, so they are kept apart.
Put together they stay encoded: most messages that are read are passed on as they are.
"""

from collections.abc import Sequence
from typing import Final

from codec.lazy import check, hold
from codec.writing import tag_table, tagged
from gen.chat import ChatMessage, MessageExtra, MessageState

# The tag of `MessageExtra.state`, before its length.
_STATE: Final = 7 << 3 | 2
_SHORT_STATE: Final = tag_table(_STATE)


def give(
    messages: Sequence[ChatMessage],
    extras: Sequence[bytes | None],
    states: Sequence[bytes | None],
) -> None:
    """Gives messages what they have beside their texts.

    Args:
        messages: have only their texts yet.
        extras: of each the encoding of a `MessageExtra` without a state, if anything was added.
        states: of each that of a `MessageState`, if it ever changed.

    Raises:
        DecodeError: one of them is damaged.
    """
    check(MessageExtra, [each for each in extras if each is not None])
    check(MessageState, [each for each in states if each is not None])
    for message, extra, state in zip(messages, extras, states, strict=True):
        if state is not None:
            size = len(state)
            head = _SHORT_STATE[size] if size < len(_SHORT_STATE) else tagged(_STATE, size)
            hold(message, "extra", (extra or b"") + head + state)
        elif extra is not None:
            hold(message, "extra", extra)
