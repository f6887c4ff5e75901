"""What a message has beside its text, as the proxy deals with it: pure.

To read `ChatMessage.extra` would make an object of it, which most messages do not have: so this is
the only place that looks at it on the way of a message.
"""

from typing import Final

import codec
from codec.columns import utf8_length
from gen.chat import ChatMessage, MessageExtra

# One of many short texts, with all that Python keeps about it.
_TEXT_BYTES: Final = 64
_OVERHEAD: Final = 512


def extra_of(message: ChatMessage) -> MessageExtra | None:
    """Returns what a message has beside its text, if anything was given."""
    extra: MessageExtra | None = vars(message).get("extra")
    return extra


def clean(message: ChatMessage) -> bool:
    """Removes what a client may not give: a state, which is the server's, and an empty extra.

    The proxy delivers a message from its own copy: what it keeps must be what the server stores.

    Returns:
        Whether there was a state.
    """
    extra = extra_of(message)
    if extra is None:
        return False
    state = vars(extra).pop("state", None)
    if not codec.encode(extra):
        del vars(message)["extra"]
    return state is not None


def size_of(message: ChatMessage) -> int:
    """Returns how many bytes that takes while it is kept; in a batch it takes less."""
    extra = extra_of(message)
    if extra is None:
        return 0
    mentions = sum(_TEXT_BYTES + utf8_length(each) for each in extra.mentions)
    return _OVERHEAD + utf8_length(extra.data) + mentions
