"""The checker of pictures tells right from wrong."""

from typing import Any

import pytest

from tests.faults.company import Company
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
        (told(1, 2) | {"room": {"change": 1}}, "change 1 of the room came in 1 to 2"),
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


def test_room_itself(picture: Picture) -> None:
    room = {"title": "A walk", "topic": "", "change": 2}
    picture.hear_changes(told(1, 2) | {"room": room})
    picture.take_room({"title": "of before", "change": 1})
    assert differences(picture, HISTORY, 2, room) == []
    for other in (None, room | {"title": "A run"}, room | {"topic": "far"}, room | {"change": 3}):
        assert differences(picture, HISTORY, 2, other)


def test_who_is_there() -> None:
    company = Company()
    company.hear_presence({"count": 2, "user_ids": ["ada", "ben"]})
    assert company.here == {"ada", "ben"}
    assert not company.gone
    assert company.strangers(frozenset({"ada", "ben", "eve"})) == []
    company.hear_presence({"count": 1, "user_ids": ["ben"]})
    assert company.here == {"ben"}
    assert company.gone == {"ada"}
    assert company.strangers(frozenset({"ben"})) == ["was told of ada, who was never there"]
    assert company.faults == []


@pytest.mark.parametrize(
    ("count", "names"), [(2, ["ben", "ada"]), (2, ["ada", "ada"]), (2, ["ada"])]
)
def test_wrong_presence(count: int, names: list[str]) -> None:
    company = Company()
    company.hear_presence({"count": count, "user_ids": names})
    assert len(company.faults) == 1


def test_nobody_types_for_longer_than_was_said() -> None:
    company = Company()
    typists = {"user_ids": ["ada"], "others": 0, "hold_ms": 6000}
    company.hear_typists(typists, 1.0)
    assert company.typists(6.9) == {"ada"}
    assert not company.typists(7.0)
    company.hear_typists(typists | {"user_ids": []}, 2.0)
    assert not company.typists(2.0)
    assert (company.typed, company.faults) == (1, [])
    for wrong in ({"others": 1}, {"hold_ms": 6001}, {"hold_ms": 0}, {"user_ids": list("abcdef")}):
        company.hear_typists(typists | wrong, 3.0)
    assert len(company.faults) == 4


def test_other_history_starts_anew(picture: Picture) -> None:
    assert not picture.joined({"recovered": False, "epoch": "f", "last_change": 0})
    assert picture.position == {"after_seq": 0, "after_change": 0}
