"""How often a client may tell that somebody types."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.clients.typing_limit import PAUSE_SECONDS, TypingLimit

told = st.tuples(st.sampled_from(["lobby", "attic"]), st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0]))


@given(st.lists(told, max_size=20))
def test_each_room_is_told_of_after_a_pause(steps: list[tuple[str, float]]) -> None:
    limit, now, last = TypingLimit(), 100.0, dict[str, float]()
    for room_id, pause in steps:
        now += pause
        may = room_id not in last or now - last[room_id] >= PAUSE_SECONDS
        assert limit.take(room_id, now) is may
        if may:
            last[room_id] = now
        assert len(limit) == sum(now - each < PAUSE_SECONDS for each in last.values())
