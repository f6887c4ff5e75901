"""What messages have beside their texts, as engines store it: two encodings, that become one field.

What the sender added never changes, and what became of the message does, so they are kept apart.
Put together they stay encoded: most messages that are read are passed on as they are.

What is no encoding any more, on a damaged disk, is not passed on. Each is stored with its
checksum, as a last field that nobody knows: whoever decodes it drops that. To compute a checksum
takes a tenth of the time that it takes to go over all fields, which is done where there is none, or
another one.
"""

import struct
from collections.abc import Sequence
from typing import Final
from zlib import crc32

import betterproto

from codec.lazy import check, hold
from codec.writing import tag_table, tagged
from gen.chat import ChatMessage, MessageExtra, MessageState

# The tag of `MessageExtra.state`, before its length.
_STATE: Final = 7 << 3 | 2
_SHORT_STATE: Final = tag_table(_STATE)
# Field 15 in four bytes, which the schema reserves; and CRC-32 of what stands before it.
_CHECKSUM: Final = struct.Struct("<BI")
_TAG: Final = 15 << 3 | 5
_CHECKSUM_BYTES: Final = _CHECKSUM.size


def sealed(encoding: bytes) -> bytes:
    """Returns an encoding, of a `MessageExtra` or `MessageState`, with its checksum behind it."""
    return encoding + _checksum(encoding)


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
    for message, extra, state in zip(messages, extras, states, strict=True):
        if state is not None:
            before = b"" if extra is None else _sound(MessageExtra, extra)
            after = _sound(MessageState, state)
            size = len(after)
            head = _SHORT_STATE[size] if size < len(_SHORT_STATE) else tagged(_STATE, size)
            hold(message, "extra", before + head + after)
        elif extra is not None:
            hold(message, "extra", _sound(MessageExtra, extra))


def _sound(cls: type[betterproto.Message], stored: bytes) -> bytes:
    """Returns an encoding without its checksum.

    Raises:
        DecodeError: it is damaged.
    """
    encoding = stored[:-_CHECKSUM_BYTES]
    if stored[-_CHECKSUM_BYTES:] == _checksum(encoding):
        return encoding
    check(cls, stored)
    return stored


def _checksum(encoding: bytes) -> bytes:
    return _CHECKSUM.pack(_TAG, crc32(encoding))
