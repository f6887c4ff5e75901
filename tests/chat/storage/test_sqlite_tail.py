"""The newest messages: in memory, by generation and room."""

from __future__ import annotations

from chat.storage.base import Range
from chat.storage.sqlite.tail import Tail
from gen.chat import ChatMessage
from tests.support import message, seqs


def stored(room_id: str, seq: int) -> ChatMessage:
    made = message(room_id, key=str(seq))
    made.seq = seq
    return made


def two_generations() -> Tail:
    """Of `room`, 3 and 4 are in the older one and 5 in the newer; of `old`, 7 in the older."""
    tail = Tail()
    tail.add(1, [stored("room", 3), stored("old", 7)])
    tail.add(1, [stored("room", 4)])
    tail.add(2, [stored("room", 5)])
    return tail


def test_the_head_is_the_newest_of_all_generations() -> None:
    tail = two_generations()
    assert (tail.head("room"), tail.head("old"), tail.head("other")) == (5, 7, 0)
    tail.add(2, [stored("room", 6)])
    assert tail.head("room") == 6


def test_a_range_goes_over_generations_in_order() -> None:
    found, rest = two_generations().find("room", Range(10))
    assert seqs(found) == [3, 4, 5]
    assert rest == Range(10, before_seq=3)
    found, rest = two_generations().find("room", Range(10, before_seq=5, after_seq=3))
    assert (seqs(found), rest) == ([4], None)


def test_only_older_generations_are_dropped() -> None:
    tail = two_generations()
    assert tail.head("old") == 7  # sorted before it is dropped
    tail.drop(2)
    assert seqs(tail.find("room", Range(10))[0]) == [5]
    assert (tail.head("room"), tail.head("old")) == (5, 0)
    tail.drop(3)
    assert tail.find("room", Range(10)) == ([], Range(10))
