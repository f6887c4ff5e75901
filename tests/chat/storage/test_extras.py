"""What is stored beside texts: read as it was written, with or without a checksum, and damaged."""

from hypothesis import given
from hypothesis import strategies as st

import codec
from chat.storage.extras import give, sealed
from gen.chat import ChatMessage, MessageExtra, MessageState, Reaction
from tests.support import PATIENT

NAMES = st.text(max_size=9)
STATES = st.builds(
    MessageState,
    change=st.integers(0, 2**32 - 1),
    deleted_by=st.none() | NAMES,
    pinned=st.booleans(),
    reactions=st.lists(st.builds(Reaction, NAMES, st.integers(0, 99), st.lists(NAMES)), max_size=3),
)
EXTRAS = st.builds(
    MessageExtra, reply_to=st.none() | st.integers(0, 9), mentions=st.lists(NAMES), data=NAMES
)


def read(extra: bytes | None, state: bytes | None) -> bytes:
    """Reads a message with these columns, and passes it on."""
    message = ChatMessage(id="1")
    give([message], [extra], [state])
    return codec.encode(message)


@PATIENT
@given(st.none() | EXTRAS, st.none() | STATES)
def test_all_is_read_as_it_was_written(
    extra: MessageExtra | None, state: MessageState | None
) -> None:
    plain = [None if each is None else codec.encode(each) for each in (extra, state)]
    stored = [None if each is None else sealed(each) for each in plain]
    expected = ChatMessage(id="1")
    if extra is not None or state is not None:
        expected.extra = codec.decode(MessageExtra, plain[0] or b"")
        expected.extra.held_state = state
    assert read(*stored) == codec.encode(expected)
    # As programs of before wrote it.
    assert read(*plain) == read(*stored)
    # Whoever decodes it need not know of the checksum.
    for each, data in zip((extra, state), stored, strict=True):
        assert each is None or codec.decode(type(each), data or b"") == each


@PATIENT
@given(STATES, st.data())
def test_damaged_state_is_refused_or_can_be_read(state: MessageState, data: st.DataObject) -> None:
    stored = bytearray(sealed(codec.encode(state)))
    at = data.draw(st.integers(0, len(stored) - 1))
    stored[at] ^= data.draw(st.integers(1, 255))
    message = ChatMessage(id="1")
    try:
        give([message], [None], [bytes(stored)])
    except codec.DecodeError:
        return
    # All that is passed on is sound.
    assert codec.decode(ChatMessage, codec.encode(message)).extra == message.extra
