"""The checker accepts correct histories, and finds each violation."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.faults.history import (
    Delivered,
    History,
    Joined,
    Left,
    Message,
    Outcome,
    Seen,
    Send,
    Spoke,
    check,
)
from tests.faults.journal import Journal

ROOMS = ("kitchen", "lobby")
Damage = Callable[[History], object]
patient = settings(max_examples=50)


def message(seq: int, room: str = "lobby", **changes: Any) -> Message:
    sender = f"sender {seq % 3}"
    return Message(room, seq, sender, f"id {seq}", f"text {seq} of {room}")._replace(**changes)


def tries(draw: st.DrawFn, sent: Message) -> Iterator[Send]:
    """Attempts to send a message until it is confirmed."""
    failures = st.lists(st.sampled_from((Outcome.REFUSED, Outcome.UNKNOWN)), max_size=2)
    for outcome in draw(failures):
        yield Send(sent.room, sent.sender, sent.id, sent.content, outcome)
    yield Send(sent.room, sent.sender, sent.id, sent.content, Outcome.CONFIRMED, sent.seq)


def reading(draw: st.DrawFn, connection: str, stored: list[Message]) -> Iterator[Seen]:
    """One connection in one room: it joins once or twice, and gets old answers."""
    room, length = stored[0].room, len(stored)
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(0, length))
        end = draw(st.integers(start, length))
        yield Joined(connection, room, start)
        for seq in range(start + 1, end + 1):
            yield Delivered(connection, stored[seq - 1])
            if draw(st.integers(0, 3)) == 0:
                past = draw(st.integers(1, seq))
                yield Delivered(connection, stored[past - 1], again=True)


def interleaved(draw: st.DrawFn, lists: list[list[Seen]]) -> Iterator[Seen]:
    """All events, in any order that keeps each list's own."""
    order = draw(st.permutations([n for n, each in enumerate(lists) for _ in each]))
    iterators = [iter(each) for each in lists]
    return (next(iterators[n]) for n in order)


@st.composite
def good_histories(draw: st.DrawFn) -> History:
    history = History()
    readings: list[list[Seen]] = []
    for room in ROOMS:
        stored = [message(seq, room) for seq in range(1, draw(st.integers(1, 8)) + 1)]
        history.stored += stored
        history.sends += [send for each in stored for send in tries(draw, each)]
        readings += [
            list(reading(draw, f"{room} {n}", stored)) for n in range(draw(st.integers(0, 3)))
        ]
    history.seen = list(interleaved(draw, readings))
    return history


def example() -> History:
    """Five messages, read by two connections; `bob` joins behind the second."""
    stored = [message(seq) for seq in range(1, 6)]
    sends = [Send(m.room, m.sender, m.id, m.content, Outcome.CONFIRMED, seq=m.seq) for m in stored]
    seen: list[Seen] = [Joined("ada", "lobby", 0), *(Delivered("ada", m) for m in stored)]
    seen += [Joined("bob", "lobby", 2), *(Delivered("bob", m) for m in stored[2:])]
    return History(sends, seen, stored)


@patient
@given(good_histories())
def test_good_history_has_no_violation(history: History) -> None:
    assert check(history) == []


def replace_sent(history: History, index: int, outcome: Outcome) -> None:
    sent = history.sends[index]
    history.sends[index] = Send(sent.room, sent.sender, sent.id, sent.content, outcome)


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.UNKNOWN])
def test_unconfirmed_message_may_be_missing(outcome: Outcome) -> None:
    history = example()
    replace_sent(history, 2, outcome)
    history.sends.append(Send("lobby", "sender 1", "id 6", "text", outcome))
    assert check(history) == []


def test_sender_may_begin_at_any_position() -> None:
    history = example()
    history.seen = [
        Spoke("eve", "lobby"),
        *(Delivered("eve", message(seq)) for seq in (3, 4)),
        Spoke("eve", "lobby"),
        Delivered("eve", message(5)),
    ]
    assert check(history) == []


def test_join_after_sending_fills_the_gap() -> None:
    history = example()
    history.seen = [Spoke("eve", "lobby"), Delivered("eve", message(3)), Joined("eve", "lobby", 3)]
    history.seen += [Delivered("eve", message(seq)) for seq in (4, 5)]
    assert check(history) == []


def renewed(losses: int = 1) -> History:
    """The example, of whose last two messages one was lost, and one came twice.

    `ada` saw all, and then another message at the same position; `bob` only the rest.
    """
    history = example()
    old, new = "old", "new"
    history.losses = losses
    history.stayed = {"ada", "bob"}
    again, other = message(4, id="id 5", sender="sender 2"), message(5, id="id 6")
    history.stored[3:] = [again._replace(content="text 5 of lobby"), other]
    history.sends = [replace(each, epoch=old) for each in history.sends]
    history.sends += [
        Send(m.room, m.sender, m.id, m.content, Outcome.CONFIRMED, m.seq, new)
        for m in history.stored[3:]
    ]
    history.seen = [
        *(Joined(*each[:3], old) if isinstance(each, Joined) else each for each in history.seen),
        *(Joined(client, "lobby", 3, new) for client in ("ada", "bob")),
        *(Delivered(client, m) for m in history.stored[3:] for client in ("ada", "bob")),
    ]
    return history


def test_what_was_lost_is_not_missed() -> None:
    assert check(renewed()) == []


def test_loss_must_be_expected() -> None:
    assert check(renewed(losses=0)) == ["there were 2 histories, and 0 losses"]


def test_each_client_must_hear_of_another_history() -> None:
    history = renewed()
    history.seen.remove(Joined("bob", "lobby", 3, "new"))
    found = check(history)
    assert "lobby: bob was never told of new" in found
    # It takes the messages of one history for those of the other.
    assert "lobby: at 4, ada saw id 4 and bob saw id 5" in found


def test_no_client_returns_to_a_history() -> None:
    history = renewed()
    history.seen += [Joined("bob", "lobby", 5, "old"), Joined("bob", "lobby", 5, "new")]
    assert check(history) == ["lobby: bob went back to old"]


def test_what_was_confirmed_in_the_last_history_is_not_lost() -> None:
    history = renewed()
    del history.stored[4]
    history.seen = history.seen[:-2]
    assert check(history) == ["lobby: id 6 of sender 2 was confirmed, but is not stored at 5"]


def swap_deliveries(history: History) -> None:
    history.seen[2:4] = reversed(history.seen[2:4])


def deliver_something_else(history: History) -> None:
    history.seen[3] = Delivered("ada", message(3, content="forged"))


def lose_the_newest(history: History) -> None:
    del history.stored[4]
    del history.seen[-1], history.seen[5]


def lose_what_was_only_delivered(history: History) -> None:
    lost = message(6)
    history.sends.append(Send("lobby", lost.sender, lost.id, lost.content, Outcome.UNKNOWN))
    history.seen.append(Delivered("bob", lost))


def leave_out_a_position(history: History) -> None:
    history.sends.append(Send("lobby", "sender 1", "id 7", "text 7 of lobby", Outcome.CONFIRMED, 7))
    history.stored.append(message(7))


def store_another_text(history: History) -> None:
    history.stored[0] = message(1, content="forged")
    history.seen[:2] = [Joined("ada", "lobby", 1)]


def confirm_elsewhere(history: History) -> None:
    sent = history.sends[1]
    history.sends.append(Send(sent.room, sent.sender, sent.id, sent.content, Outcome.CONFIRMED, 3))


def saw(at: int, *events: Seen) -> Damage:
    """Inserts an event; -1 is the end."""

    def damage(history: History) -> None:
        end = len(history.seen) if at < 0 else at
        history.seen[end:end] = events

    return damage


TWICE = message(6, id="id 3", sender="sender 0", content="text 3 of lobby")
DAMAGES: dict[str, tuple[Damage, list[str]]] = {
    "a delivery is lost": (lambda h: h.seen.pop(2), ["lobby: ada got 3 after 1, a gap"]),
    "the first one is lost": (lambda h: h.seen.pop(1), ["lobby: ada got 2 after 0, a gap"]),
    "a delivery comes twice": (saw(3, Delivered("ada", message(2))), ["lobby: ada got 2 twice"]),
    "deliveries are swapped": (
        swap_deliveries,
        ["lobby: ada got 3 after 1, a gap", "lobby: ada got 2 after 3, out of order"],
    ),
    "one from before the join": (
        saw(-1, Delivered("bob", message(2))),
        ["lobby: bob got 2 after 5, out of order"],
    ),
    "one to who never joined": (
        saw(-1, Delivered("eve", message(5))),
        ["lobby: eve got 5, but was not in the room"],
    ),
    "one ahead of the join": (
        saw(0, Delivered("ada", message(2))),
        ["lobby: ada got 2, but was not in the room"],
    ),
    "one after leaving": (
        saw(5, Left("ada", "lobby")),
        ["lobby: ada got 5, but was not in the room"],
    ),
    "what came ahead of the join comes again": (
        saw(0, Spoke("ada", "lobby"), Delivered("ada", message(2))),
        ["lobby: ada got 2 twice"],
    ),
    "an answer from the future": (
        saw(3, Delivered("ada", message(5), again=True)),
        [
            "lobby: ada got 5 after 2, a gap",
            *(f"lobby: ada got {seq} after 5, out of order" for seq in (3, 4)),
            "lobby: ada got 5 twice",
        ],
    ),
    "something else is delivered": (
        deliver_something_else,
        [
            "lobby: id 3 of sender 0 was delivered to ada, but is not stored at 3",
            "lobby: at 3, ada saw id 3 and bob saw id 3",
        ],
    ),
    "the newest is lost": (
        lose_the_newest,
        ["lobby: id 5 of sender 2 was confirmed, but is not stored at 5"],
    ),
    "what was only delivered is lost": (
        lose_what_was_only_delivered,
        ["lobby: id 6 of sender 0 was delivered to bob, but is not stored at 6"],
    ),
    "one is stored twice": (
        lambda h: h.stored.append(TWICE),
        ["lobby: id 3 of sender 0 is stored 2 times"],
    ),
    "a position is left out": (leave_out_a_position, ["lobby: 7 is stored where 6 should be"]),
    "nobody sent what is stored": (
        lambda h: h.stored.append(message(6)),
        ["lobby: id 6 of sender 0 is stored, but was never sent"],
    ),
    "another text is stored": (
        store_another_text,
        ["lobby: id 1 of sender 1 is stored with another text"],
    ),
    "it is confirmed elsewhere": (
        confirm_elsewhere,
        ["lobby: id 2 of sender 2 was confirmed, but is not stored at 3"],
    ),
    "a stray": (lambda h: h.strays.append("ada: odd"), ["ada: odd"]),
}


@pytest.mark.parametrize(("damage", "violations"), DAMAGES.values(), ids=DAMAGES.keys())
def test_each_violation_is_reported(damage: Damage, violations: list[str]) -> None:
    history = example()
    damage(history)
    assert check(history) == violations


@patient
@given(good_histories(), st.data())
def test_lost_or_repeated_delivery_is_found(history: History, data: st.DataObject) -> None:
    inner = [index for index in range(len(history.seen)) if followed(history, index)]
    assume(inner)
    index = data.draw(st.sampled_from(inner))
    if data.draw(st.booleans()):
        del history.seen[index]
    else:
        history.seen.insert(index, history.seen[index])
    assert check(history)


def followed(history: History, index: int) -> bool:
    """Whether an event and the next one of its connection are both deliveries."""
    later = (each for each in history.seen[index + 1 :] if each[0] == history.seen[index][0])
    return all(
        isinstance(each, Delivered) and not each.again
        for each in (history.seen[index], next(later, None))
    )


@patient
@given(good_histories(), st.data())
def test_lost_stored_message_is_found(history: History, data: st.DataObject) -> None:
    del history.stored[data.draw(st.integers(0, len(history.stored) - 1))]
    assert check(history)


def test_history_keeps_shared_message_once() -> None:
    journal = Journal()
    first, same = (Message("attic", 1, "ada", "1", "hello " * n) for n in (2, 2))
    assert first is not same
    assert journal.kept(first) is first
    assert journal.kept(same) is first
    # Unless there is something wrong with it.
    other = first._replace(content="hello?")
    assert journal.kept(other) is other
    assert journal.kept(same) is first
