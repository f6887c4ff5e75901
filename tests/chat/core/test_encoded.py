"""What is on its way to streams."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

import codec
from chat.core.encoded import EncodedMessage
from gen.chat import ChatMessage, MessageExtra, RelayEvent, RelayResponse

times = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
messages = st.builds(
    ChatMessage,
    id=st.text(max_size=9),
    room_id=st.text(max_size=9),
    sender_id=st.text(max_size=9),
    content=st.text(max_size=9) | st.integers(100, 20_000).map(lambda size: "x" * size),
    seq=st.integers(0, 2**32 - 1),
    sent_at=st.none() | times,
    extra=st.none() | st.builds(MessageExtra, mentions=st.lists(st.text(max_size=9), max_size=2)),
)


@given(st.lists(messages, max_size=3))
def test_for_proxies_as_batches_that_may_be_joined(told: list[ChatMessage]) -> None:
    whole = RelayResponse(events=[RelayEvent(chat_message=message) for message in told])
    assert b"".join(EncodedMessage(each).for_proxy() for each in told) == codec.encode(whole)
