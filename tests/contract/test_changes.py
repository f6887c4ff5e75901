"""What becomes of a message, on every engine."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

import codec
from chat.errors import NotFound, PermissionDenied, ResourceExhausted
from chat.storage.base import PAGE_BYTES, Range, Store
from chat.storage.changes import Change, is_deleted, state_of
from chat.storage.listener import Head
from chat.storage.results import message_size
from gen.chat import (
    ChangeMessageRequest,
    ChatMessage,
    Delete,
    Mark,
    MessageExtra,
    MessageState,
    Reaction,
    RoomChanges,
)
from tests.contract.engines import Engine
from tests.support import message, seqs


def asked(seq: int = 1, by: str = "ada", *, moderator: bool = False, **change: Any) -> Change:
    """A request in the room of these tests."""
    return Change(ChangeMessageRequest("room", seq, by, **change), is_moderator=moderator)


async def read(store: Store, seq: int = 1) -> ChatMessage:
    """A message as the history shows it."""
    [found] = (await store.history("room", Range(1, after_seq=seq - 1))).messages
    return found


def state(message: ChatMessage) -> MessageState:
    found = state_of(message)
    assert found is not None
    return found


async def head(store: Store) -> Head:
    page = await store.history("room", Range(1))
    assert (await store.changes("room", 0, 1000)).changes.last_change == page.last_change
    return Head(await store.last_seq("room"), page.last_change)


async def test_edit(engine: Engine, store: Store) -> None:
    await store.append([message(content="helo"), message(key="2")])
    changed = await store.change(asked(content="hello"))
    assert changed == await read(store)
    assert (changed.content, state(changed).change) == ("hello", 1)
    assert state(changed).edited_at >= changed.sent_at
    assert await head(store) == Head(2, 1)
    [told] = engine.changed
    assert (told.room_id, told.after_change, told.last_change) == ("room", 0, 1)
    [change] = told.messages
    assert (change.seq, change.content, change.state) == (1, "hello", state(changed))


async def test_deleted_message_keeps_its_place_and_its_name(store: Store) -> None:
    extra = MessageExtra(mentions=["ben"], data="{}")
    sent = message(key="k")
    sent.extra = extra
    await store.append([sent, message(key="2")])
    await store.change(asked(react="👍", by="ben"))
    tombstone = await store.change(asked(delete=Delete()))
    assert (tombstone.content, tombstone.seq, tombstone.id) == ("", 1, "k")
    assert tombstone.extra == MessageExtra(state=state(tombstone))
    assert state(tombstone) == MessageState(change=2, deleted_at=state(tombstone).deleted_at)
    assert await store.reactions("room", 1, "", None, 10) == []
    assert await read(store) == tombstone
    again = message(key="k", content="once more")
    assert await store.append([again]) == [tombstone]
    assert await store.last_seq("room") == 2


async def test_no_such_room(store: Store) -> None:
    with pytest.raises(NotFound, match="room nowhere has no message 1"):
        await store.change(Change(ChangeMessageRequest("nowhere", 1, "ada", react="x")))
    assert (await store.changes("nowhere", 0, 5)).changes == RoomChanges("nowhere")
    assert await store.count_changes("nowhere", 0, 5) == 0
    assert await store.reactions("nowhere", 1, "", None, 5) == []
    assert await store.mark("ada", "nowhere", 7, back=False) == Mark("nowhere")


async def test_reactions(store: Store) -> None:
    await store.append([message()])
    users = [f"u{n:02}" for n in range(25)]
    for user in users:
        await store.change(asked(by=user, react="👍"))
    await store.change(asked(by="u03", react="a"))
    assert state(await read(store)).reactions == [
        Reaction("👍", 25, users[:20]),
        Reaction("a", 1, ["u03"]),
    ]
    # Who came later moves up.
    await store.change(asked(by="u00", unreact="👍"))
    await store.change(asked(by="u24", unreact="👍"))
    found = await read(store)
    assert state(found).reactions[0] == Reaction("👍", 23, users[1:21])
    # Who comes again comes last.
    await store.change(asked(by="u00", react="👍"))
    rows = await store.reactions("room", 1, "", None, 100)
    assert [(row.emoji, row.user_id) for row in rows] == [
        ("a", "u03"),
        *(("👍", user) for user in [*users[1:24], "u00"]),
    ]
    page = await store.reactions("room", 1, "", (rows[4].emoji, rows[4].change), 3)
    assert page == rows[5:8]
    assert await store.reactions("room", 1, "u03", None, 100) == [
        row for row in rows if row.user_id == "u03"
    ]
    # The last one takes the kind away.
    await store.change(asked(by="u03", unreact="a"))
    assert [each.emoji for each in state(await read(store)).reactions] == ["👍"]


async def test_names_in_a_state_are_bounded(store: Store) -> None:
    """Each change tells all of them to everybody."""
    await store.append([message()])
    users = ["🦊" * 60 + str(number) for number in range(10)]
    for emoji in ("a", "b"):
        for user in users:
            await store.change(asked(by=user, react=emoji))
    found = state(await read(store)).reactions
    assert [each.count for each in found] == [10, 10]
    assert [len(each.user_ids) for each in found] == [10, 6]
    assert found[1].user_ids == users[:6]
    await store.change(asked(by=users[0], unreact="b"))
    await store.change(asked(by=users[1], unreact="a"))
    found = state(await read(store)).reactions
    assert (found[0].user_ids, found[1].count) == ([users[0], *users[2:]], 9)
    assert len(await store.reactions("room", 1, "", None, 100)) == 18


async def test_most_kinds_of_reactions(store: Store) -> None:
    await store.append([message()])
    for number in range(50):
        await store.change(asked(react=f"e{number}"))
    with pytest.raises(ResourceExhausted, match="react: a message may have at most 50 kinds of"):
        await store.change(asked(react="one more"))
    await store.change(asked(by="ben", react="e7"))
    await store.change(asked(unreact="e0"))
    assert len(state(await store.change(asked(react="one more"))).reactions) == 50


async def test_extra_is_kept_and_announced(engine: Engine, store: Store) -> None:
    await store.append([message()])
    sent = message(key="2")
    sent.extra = MessageExtra(reply_to=1, mentions=["ben", "cy"], data="{}")
    await store.append([sent])
    assert engine.announced[-1] == sent
    assert (await read(store, 2)).extra == sent.extra
    edited = await store.change(asked(2, content="other"))
    assert edited.extra.reply_to == 1
    assert edited.extra.mentions == ["ben", "cy"]
    assert (await store.append([message(key="2")])) == [edited]


async def test_changes_in_pages(store: Store) -> None:
    await store.append([message(key=str(n)) for n in range(6)])
    for seq in (1, 2, 3, 4, 5, 6):
        await store.change(asked(seq, content=f"text {seq}"))
    await store.change(asked(2, react="👍"))
    seen: list[int] = []
    after, has_more = 1, True
    while has_more:
        changes, has_more = await store.changes("room", after, 2)
        assert changes.after_change == after < changes.last_change
        after = changes.last_change
        seen += [each.seq for each in changes.messages]
    assert seen == [3, 4, 5, 6, 2]
    assert after == 7
    assert await head(store) == Head(6, 7)
    assert await store.count_changes("room", 0, 100) == 6
    assert await store.count_changes("room", 0, 4) == 4
    assert await store.count_changes("room", 7, 100) == 0
    assert (await store.changes("room", 7, 5)).changes.messages == []


async def test_text_comes_in_pages_if_it_ever_changed(store: Store) -> None:
    """A page before this one may have left out the message, for it changed again later."""
    await store.append([message(), message(key="2")])
    await store.change(asked(content="new"))
    await store.change(asked(react="👍"))
    await store.change(asked(2, react="👍"))
    for after in (0, 1):
        first, second = (await store.changes("room", after, 5)).changes.messages
        assert (first.content, first.state.change) == ("new", 2)
        assert (second.content, second.state.change) == (None, 3)


async def test_changes_at_once(engine: Engine, store: Store) -> None:
    await store.append([message()])
    users = [f"u{n}" for n in range(30)]
    await asyncio.gather(*(store.change(asked(by=user, react="👍")) for user in users))
    found = state(await read(store))
    assert (found.change, found.reactions[0].count) == (30, 30)
    after = 0
    for told in engine.changed:
        assert told.after_change == after
        after = told.last_change
    assert after == 30


async def test_changes_that_came_together_are_made_in_order(store: Store) -> None:
    await store.append([message(key=str(n)) for n in range(2)])
    wishes = [
        asked(content="a"),
        asked(by="ben", react="👍"),
        asked(by="ben", content="not his"),
        asked(9, react="👍"),
        asked(content="b"),
        asked(by="cyd", react="👍"),
        asked(2, by="cyd", react="👍"),
        asked(by="ben", unreact="👍"),
    ]
    made = await store.change_all(wishes)
    kinds = [type(each) for each in made]
    assert kinds == [
        *(ChatMessage, ChatMessage, PermissionDenied, NotFound),
        *(ChatMessage, ChatMessage, ChatMessage, ChatMessage),
    ]
    found = [each for each in made if isinstance(each, ChatMessage)]
    assert [found[0].content, found[2].content] == ["a", "b"]
    # Those who react may be told what came later already, never what came before.
    numbers = [state(each).change for each in found]
    assert all(number >= least for number, least in zip(numbers, range(1, 7), strict=True))
    assert found[-1] == await read(store)
    assert state(found[-1]).reactions == [Reaction("👍", 1, ["cyd"])]
    assert state(await read(store, 2)).reactions == [Reaction("👍", 1, ["cyd"])]
    assert await store.change_all([]) == []


async def test_refused_change_harms_no_other(store: Store) -> None:
    await store.append([message()])
    outcomes = await asyncio.gather(
        store.change(asked(react="a")),
        store.change(asked(by="ben", content="no")),
        store.change(asked(99, react="a")),
        store.change(asked(content="\udcff")),
        store.change(asked(react="b")),
        return_exceptions=True,
    )
    assert [isinstance(each, ChatMessage) for each in outcomes] == [True, False, False, False, True]
    assert (await read(store)).content == "hello"
    assert await head(store) == Head(1, 2)


async def test_marks(engine: Engine, store: Store) -> None:
    await store.append([message(key=str(n)) for n in range(5)])
    assert (await store.mark("ben", "room", 0, back=False)).seq == 0
    assert (await store.mark("ben", "room", 3, back=False)).seq == 3
    assert (await store.mark("ben", "room", 2, back=False)).seq == 3
    assert (await store.mark("ben", "room", 99, back=False)).seq == 5
    assert (await store.mark("ben", "room", 1, back=True)).seq == 1
    assert (await store.mark("ben", "room", 0, back=False)).seq == 1
    assert (await store.mark("ben", "room", 0, back=True)).seq == 0
    assert (await store.mark("cy", "room", 0, back=False)).seq == 0
    told = [(each.user_id, each.mark.room_id, each.mark.seq) for each in engine.marked]
    assert told == [("ben", "room", seq) for seq in (3, 5, 1, 0)]


async def test_unread_mentions(store: Store) -> None:
    for number in range(4):
        sent = message(key=str(number))
        sent.extra = MessageExtra(mentions=["ben"]) if number % 2 else MessageExtra(data="x")
        await store.append([sent])
    everyone = message(key="all")
    everyone.extra = MessageExtra(mentions_room=True, mentions=["ben"])
    own = message(key="own", sender_id="ben")
    own.extra = MessageExtra(mentions=["ben"])
    await store.append([everyone, own])
    assert (await store.mark("ben", "room", 0, back=False)).mentions == 3
    assert (await store.mark("cy", "room", 0, back=False)).mentions == 1
    assert (await store.mark("ben", "room", 2, back=False)).mentions == 2
    await store.change(asked(4, delete=Delete()))
    assert (await store.mark("ben", "room", 0, back=False)).mentions == 1


async def test_mentions_are_counted_up_to_a_bound(store: Store) -> None:
    sent = [message(key=str(n)) for n in range(103)]
    for each in sent:
        each.extra = MessageExtra(mentions=["ben"])
    await store.append(sent)
    assert (await store.mark("ben", "room", 0, back=False)).mentions == 100
    assert (await store.mark("ben", "room", 5, back=False)).mentions == 98


async def test_erasure(engine: Engine, store: Store) -> None:
    await store.upsert_user("ada", "Ada", "ada@example.org")
    await store.append([message("a", key=str(n)) for n in range(3)])
    await store.append([message("b", sender_id="ben")])
    await store.change(Change(ChangeMessageRequest("b", 1, "ada", react="👍")))
    await store.change(Change(ChangeMessageRequest("b", 1, "ben", react="👍")))
    await store.mark("ada", "b", 1, back=False)
    first = await store.erase("ada", 2)
    assert (first.done, await store.erasures()) == (False, ["ada"])
    messages = first.messages
    while not first.done:
        first = await store.erase("ada", 2)
        messages += first.messages
    assert (messages, await store.erasures()) == (3, [])
    page = await store.history("a", Range(10))
    assert all(map(is_deleted, page.messages))
    assert seqs(page.messages) == [1, 2, 3]
    assert [row.user_id for row in await store.reactions("b", 1, "", None, 10)] == ["ben"]
    assert (await store.mark("ada", "b", 0, back=False)).seq == 0
    assert await store.get_user("ada") is None
    assert [user.id for user in await store.list_users("", 10)] == ["ben"]
    assert sum(len(each.messages) for each in engine.changed if each.room_id == "a") == 3
    assert (await store.erase("ada", 5)).done


async def test_two_may_erase_the_same_user(store: Store) -> None:
    """Each message is deleted once, by whichever of them."""
    await store.append([message(key=str(number), sender_id="ada") for number in range(30)])
    await store.append([message(key="1", sender_id="bob")])
    await store.change(asked(31, by="ada", react="x"))

    async def erase() -> None:
        while not (await store.erase("ada", 4)).done:
            pass

    await asyncio.gather(erase(), erase(), erase())
    page = await store.history("room", Range(100))
    assert [is_deleted(each) for each in page.messages] == [True] * 30 + [False]
    assert page.last_change == 1 + 30 + 1
    assert state(page.messages[-1]).reactions == []
    assert await store.erasures() == []
    assert await store.get_user("ada") is None


async def test_erased_user_may_come_again(store: Store) -> None:
    await store.append([message(key="1")])
    while not (await store.erase("ada", 5)).done:
        pass
    assert is_deleted((await store.append([message(key="1")]))[0])
    [new] = await store.append([message(key="2")])
    assert (new.seq, new.content) == (2, "hello")
    found = await store.get_user("ada")
    assert found is not None
    assert found.name == "ada"


async def test_pages_are_bounded_in_bytes(store: Store) -> None:
    """What a message has beside its text counts, too; so does a text that changed."""
    data = "x" * 4096
    number = 2 * PAGE_BYTES // len(data)
    extra = MessageExtra(data=data)
    sent = [message(content=str(seq), key=str(seq)) for seq in range(1, number + 1)]
    await store.append([replace(each, extra=extra) for each in sent])
    for span in (Range(500), Range(500, after_seq=0)):
        page = await store.history("room", span)
        assert page.has_more
        assert 0.9 * PAGE_BYTES < sum(message_size(each) for each in page.messages) <= PAGE_BYTES
    await asyncio.gather(*(store.change(asked(seq, content=data)) for seq in range(1, number + 1)))
    first = await store.changes("room", 0, 500)
    assert first.has_more
    assert sum(len(codec.encode(each)) for each in first.changes.messages) > PAGE_BYTES / 2
    assert len(first.changes.messages) <= PAGE_BYTES // len(data)
    rest = await store.changes("room", first.changes.last_change, 500)
    assert rest.changes.messages[0].state.change == first.changes.last_change + 1
