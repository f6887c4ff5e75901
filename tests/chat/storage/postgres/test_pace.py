"""How soon nodes tell of new heads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.storage.postgres.pace import PAUSE_SECONDS, Pace


def test_at_once_while_nobody_else_appends() -> None:
    pace = Pace()
    assert pace.pause(100.0) == 0
    pace.told(100.0)
    assert pace.pause(100.001) == 0


def test_fewer_while_others_append() -> None:
    pace = Pace()
    pace.told(100.0)
    pace.met_others(100.001)
    assert pace.pause(100.001) == pytest.approx(PAUSE_SECONDS - 0.001)
    # Also what no other append was met by, a moment later.
    assert pace.pause(100.005) > 0
    assert pace.pause(100.0 + 2 * PAUSE_SECONDS) == 0


def test_at_once_again_when_others_have_stopped() -> None:
    pace = Pace()
    pace.met_others(100.0)
    pace.told(101.0)
    assert pace.pause(101.0) == 0


@given(
    st.lists(st.tuples(st.sampled_from(["told", "met_others"]), st.floats(0, 0.05))),
    st.floats(0, 0.05),
)
def test_never_longer_than_between_two_hints(steps: list[tuple[str, float]], last: float) -> None:
    pace, now = Pace(), 0.0
    for step, seconds in steps:
        now += seconds
        (pace.told if step == "told" else pace.met_others)(now)
    # But for what is rounded.
    assert 0 <= pace.pause(now + last) <= PAUSE_SECONDS + 1e-9
