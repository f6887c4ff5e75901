"""What a message has beside its text, as the proxy deals with it: pure.

To read `ChatMessage.extra` would make an object of it, which most messages do not have. So callers
look at `ChatMessage.held_extra` first: that costs a plain message next to nothing.
"""

from typing import Final

import codec
from codec.columns import utf8_length
from gen.chat import ChatMessage, MessageExtra

# One of many short texts, with all that Python keeps about it.
_TEXT_BYTES: Final = 64
_OVERHEAD: Final = 512


def clean(message: ChatMessage) -> bool:
    """Removes what a client may not give: a state, which is the server's, and an empty extra.

    The proxy delivers a message from its own copy: what it keeps must be what the server stores.

    Returns:
        Whether there was a state.
    """
    extra = message.extra
    state, extra.held_state = extra.held_state, None
    if not codec.encode(extra):
        message.held_extra = None
    return state is not None


def size_of(extra: MessageExtra) -> int:
    """Returns how many bytes it takes while it is kept; in a batch it takes less."""
    mentions = sum(_TEXT_BYTES + utf8_length(each) for each in extra.mentions)
    return _OVERHEAD + utf8_length(extra.data) + mentions
