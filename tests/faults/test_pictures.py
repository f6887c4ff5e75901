"""The checker of pictures tells right from wrong."""

from typing import Any

import pytest

from tests.faults.pictures import Frame, Picture, differences


def sent(seq: int, content: str = "hello", **state: Any) -> Frame:
    message: Frame = {"seq": seq, "id": str(seq), "content": content}
    return message | ({"extra": {"state": state}} if state else {})


def told(after: int, last: int, *messages: Frame) -> Frame:
    return {"after_change": after, "last_change": last, "messages": list(messages)}


def changed(seq: int, change: int, **more: Any) -> Frame:
    return {"seq": seq, "state": {"change": change}, **more}


@pytest.fixture
def picture() -> Picture:
    """A room of two messages, the first of which was edited."""
    picture = Picture()
    assert picture.joined({"recovered": True, "epoch": "e", "last_change": 0})
    picture.hear(sent(1))
    picture.hear(sent(2))
    picture.hear_changes(told(0, 1, changed(1, 1, content="hallo")))
    return picture


HISTORY = [sent(1, "hallo", change=1), sent(2)]


def test_picture_that_is_the_history(picture: Picture) -> None:
    assert differences(picture, HISTORY, 1) == []
    assert picture.position == {"after_seq": 2, "after_change": 1, "epoch": "e"}


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (told(2, 3), "changes behind 2 came after 1"),
        (told(1, 2, changed(3, 2)), "a change of message 3 came before it"),
        (told(1, 2, changed(2, 1)), "change 1 came in 1 to 2"),
    ],
)
def test_wrong_changes(picture: Picture, frame: Frame, fault: str) -> None:
    picture.hear_changes(frame)
    assert fault in picture.faults


def test_missing_message(picture: Picture) -> None:
    picture.hear(sent(4))
    assert picture.faults == ["message 4 came after 2"]


def test_late_and_repeated_states_are_no_harm(picture: Picture) -> None:
    picture.hear_changes(told(1, 2, changed(1, 2, content="hi")))
    picture.hear_changes(told(0, 1, changed(1, 1, content="hallo")))
    assert differences(picture, [sent(1, "hi", change=2), sent(2)], 2) == []


@pytest.mark.parametrize(
    ("history", "last_change"),
    [
        ([sent(1, "other", change=1), sent(2)], 1),
        ([*HISTORY, sent(3)], 1),
        (HISTORY, 2),
        ([sent(1, "hallo", change=1), sent(2, change=1)], 1),
    ],
)
def test_picture_that_is_not_the_history(
    picture: Picture, history: list[Frame], last_change: int
) -> None:
    assert differences(picture, history, last_change)


def test_other_history_starts_anew(picture: Picture) -> None:
    assert not picture.joined({"recovered": False, "epoch": "f", "last_change": 0})
    assert picture.position == {"after_seq": 0, "after_change": 0}
