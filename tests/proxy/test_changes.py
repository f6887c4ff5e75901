"""What becomes of messages, through real proxies and a real chat server."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from chat.storage.changes import Change
from gen.chat import ChangeMessageRequest, Delete, Room
from tests.proxy.nodes import Node, before, nodes
from tests.proxy.picture import Picture, shown
from tests.proxy.web_client import Client, Frame, Http, connect, joined, message, serve_http

BOTH = {"follow": ["CHANGES", "READS"]}
STORM = 200
MORE_THAN_A_PAGE = 110


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with nodes(1) as [node]:
        yield node


@pytest.fixture(name="http")
async def http_fixture(node: Node) -> AsyncIterator[Http]:
    async with serve_http(before([node])) as http:
        yield http


async def follower(http: Http, picture: Picture, **position: Any) -> Client:
    """Opens a WebSocket that follows the room of a picture."""
    client = await connect(http)
    picture.take(await client.ask(join={"room_id": "lobby", **BOTH, **position}))
    return client


async def change(node: Node, seq: int, **what: Any) -> None:
    """Changes a message at the server, whatever the proxy does."""
    request = ChangeMessageRequest("lobby", seq, "ada", **what)
    await node.mortal.hub.store.change(Change(request, is_moderator=True))


def is_change(last_change: int) -> Any:
    """Whether a frame brings a room's changes up to one."""
    return lambda frame: frame.get("changes", {}).get("last_change", 0) >= last_change


async def history(client: Client) -> dict[int, Any]:
    page = (await client.ask(get_chat_history={"room_id": "lobby", "limit": 500}))["chat_history"]
    return {each["seq"]: shown(each) for each in page["messages"]}


async def test_change_reaches_its_followers_alone(http: Http) -> None:
    picture = Picture()
    keen = await follower(http, picture)
    plain, sender = await joined(http, "lobby"), await connect(http)
    await sender.ask(chat_message=message("lobby", "helo"))
    changes: list[Frame] = [{"content": "hello"}, {"react": "👍"}, {"pinned": True}]
    for number, what in enumerate(changes, 1):
        answer = await sender.ask(
            change_message={"room_id": "lobby", "seq": 1, "user_id": "ada"} | what
        )
        assert answer["changed_message"]["message"]["extra"]["state"]["change"] == number
    picture.take_all(await keen.take_until(is_change(3)))
    assert picture.messages == await history(sender)
    assert picture.messages[1].content == "hello"
    # Neither the one that just joined nor the one that just sent is told of it.
    await sender.ask(chat_message=message("lobby", "next"))
    assert [frame["chat_message"]["content"] for frame in await plain.take(2)] == ["helo", "next"]
    for client in (plain, sender):
        assert await client.barrier() == []


async def test_joined_tells_changes_to_their_followers(http: Http) -> None:
    client = await connect(http)
    plain = await client.ask(join={"room_id": "lobby"})
    reader = await client.ask(join={"room_id": "lobby", "follow": ["READS"]})
    keen = await client.ask(join={"room_id": "lobby", "follow": ["CHANGES"]})
    assert "last_change" not in plain["joined"]
    assert "last_change" not in reader["joined"]
    assert keen["joined"]["last_change"] == 0


async def test_joining_again_starts_over(http: Http) -> None:
    client, sender = await joined(http, "lobby", **BOTH), await connect(http)
    await client.ask(join={"room_id": "lobby"})
    await sender.ask(chat_message=message("lobby"))
    await sender.ask(change_message={"room_id": "lobby", "seq": 1, "user_id": "ada", "react": "+1"})
    await sender.ask(mark_read={"room_id": "lobby", "seq": 1, "user_id": "ada"})
    assert [frame["chat_message"]["seq"] for frame in await client.barrier()] == [1]


async def test_changes_are_resumed_over_restart_of_server(node: Node, http: Http) -> None:
    picture = Picture()
    client = await follower(http, picture)
    for text in ("one", "two", "three"):
        picture.take(await client.ask(chat_message=message("lobby", text)))
    await node.stop()
    await change(node, 1, content="ONE")
    await change(node, 2, delete=Delete())
    await change(node, 1, react="👍")
    await node.start()
    picture.take_all(await client.take_until(is_change(3)))
    assert picture.messages == await history(client)
    assert picture.resets == 1


async def test_changes_are_resumed_over_restart_of_proxy(node: Node) -> None:
    picture = Picture()
    async with serve_http(before([node])) as http:
        client = await follower(http, picture)
        for text in ("one", "two"):
            picture.take(await client.ask(chat_message=message("lobby", text)))
        await change(node, 1, content="ONE")
        picture.take_all(await client.take_until(is_change(1)))
    await change(node, 2, content="TWO")
    await change(node, 1, react="👍")
    async with serve_http(before([node])) as http:
        sender = await connect(http)
        await sender.ask(chat_message=message("lobby", "three"))
        await change(node, 3, content="THREE")
        client = await follower(http, picture, **picture.position)
        picture.take_all(await client.barrier())
        assert (picture.seq, picture.change, picture.resets) == (3, 4, 1)
        assert picture.messages == await history(client)
        # What comes next chains.
        await change(node, 3, pinned=True)
        picture.take_all(await client.take_until(is_change(5)))


@pytest.mark.parametrize(("limit", "whole"), [(2, True), (1, False)])
async def test_replayed_changes_are_bounded(node: Node, limit: int, whole: bool) -> None:
    async with serve_http(before([node], replay_messages=limit)) as http:
        picture = Picture()
        client = await follower(http, picture)
        for text in ("one", "two"):
            picture.take(await client.ask(chat_message=message("lobby", text)))
        await client.socket.close()
        for emoji in "abcde":
            await change(node, 1, react=emoji)
            await change(node, 2, react=emoji)
        client = await follower(http, picture, **picture.position)
        picture.take_all(await client.barrier())
        assert picture.resets == (1 if whole else 2)
        assert picture.change == 10


async def test_text_is_not_lost_between_pages_and_live(node: Node, http: Http) -> None:
    picture, watcher = Picture(), await joined(http, "lobby", **BOTH)
    client = await follower(http, picture)
    for _ in range(MORE_THAN_A_PAGE):
        await client.say("lobby", "hello")
    picture.take_all(await client.take(MORE_THAN_A_PAGE))
    await client.socket.close()
    await change(node, 1, content="edited")
    await watcher.take_until(is_change(1))
    # The proxy is told of these together, after a while; a page of them lacks the first message,
    # whose last change is the last of all.
    for seq in (*range(2, MORE_THAN_A_PAGE + 1), 1):
        await change(node, seq, react="👍")
    client = await follower(http, picture, **picture.position)
    last_change = MORE_THAN_A_PAGE + 1
    picture.take_all(await client.barrier())
    await watcher.take_until(is_change(last_change))
    picture.take_all(await client.barrier())
    assert (picture.change, picture.resets) == (last_change, 1)
    assert picture.messages == await history(client)


async def test_spans_chain_from_a_replay_on(node: Node, http: Http) -> None:
    """The server is ahead of what it has told the proxy: a page has more than live spans follow."""
    picture, watcher = Picture(), await joined(http, "lobby", **BOTH)
    client = await follower(http, picture)
    picture.take(await client.ask(chat_message=message("lobby")))
    number = 0
    for _ in range(10):
        await client.socket.close()
        for _ in range(3):
            number += 1
            await change(node, 1, content=f"text {number}")
        client = await follower(http, picture, **picture.position)
        number += 1
        await change(node, 1, content=f"text {number}")
        frames = await client.take_until(is_change(number))
        for frame in frames:
            if "changes" in frame:
                assert frame["changes"]["after_change"] <= picture.change
            picture.take(frame)
        assert picture.messages == await history(client)
    await watcher.take_until(is_change(number))


async def test_room_itself_is_told_live_and_replayed(node: Node, http: Http) -> None:
    client = await connect(http)
    await client.ask(join={"room_id": "lobby", **BOTH})
    await client.ask(chat_message=message("lobby", "helo"))
    room = {"id": "lobby", "title": "Lobby", "topic": "all of it"}
    await client.send(set_room={"room": room}, request_id="set")
    told = await client.take_until_answer("set")
    [live] = [frame for frame in [*told, *await client.barrier()] if "changes" in frame]
    assert live["changes"]["room"] == {**room, "change": 1}
    assert live["changes"]["messages"] == []
    # Over a restart of the server, together with what became of a message.
    await node.stop()
    await change(node, 1, content="hello")
    room = {"id": "lobby", "title": "The lobby", "topic": ""}
    await node.mortal.hub.store.set_room(Room("lobby", "The lobby"), None)
    await node.start()
    told = await client.take_until(is_change(3))
    assert [frame["changes"]["room"] for frame in told if "room" in frame["changes"]] == [
        {**room, "change": 3}
    ]
    # To one that comes back, and by pages.
    for after_change, number in ((1, 1), (2, 0), (3, None)):
        position = {"after_seq": 1, "after_change": after_change}
        late = await connect(http)
        assert (await late.ask(join={"room_id": "lobby", **BOTH, **position}))["joined"][
            "recovered"
        ]
        replayed = [frame["changes"] for frame in await late.barrier()]
        if number is None:
            assert replayed == []
            continue
        [span] = replayed
        assert span["room"] == {**room, "change": 3}
        assert len(span["messages"]) == number
        asked = {"room_id": "lobby", "after_change": after_change}
        page = (await late.ask(get_changes=asked))["room_changes"]["changes"]
        assert page == span


async def test_storm_is_told_in_few_frames(node: Node, http: Http) -> None:
    picture = Picture()
    client = await follower(http, picture)
    picture.take(await client.ask(chat_message=message("lobby")))
    for number in range(STORM):
        request = ChangeMessageRequest("lobby", 1, f"user {number}", react="👍")
        await node.mortal.hub.store.change(Change(request))
    frames = await client.take_until(is_change(STORM))
    picture.take_all(frames)
    assert len(frames) < STORM / 4
    assert picture.messages == await history(client)


async def test_mark_reaches_devices_of_its_user(node: Node) -> None:
    async with serve_http(before([node])) as one, serve_http(before([node])) as other:
        named = await joined(other, "lobby", **BOTH, user_id="ada")
        reader = await joined(other, "lobby", follow=["READS"], user_id="eve")
        elsewhere = await joined(other, "attic", **BOTH, user_id="ada")
        plain = await joined(other, "lobby")
        sender = await joined(one, "lobby", **BOTH)
        await sender.ask(chat_message=message("lobby"))
        for client in (named, reader, plain):
            await client.receive()
        await sender.send(mark_read={"room_id": "lobby", "seq": 1, "user_id": "ada"})
        mark = {"room_id": "lobby", "seq": 1, "mentions": 0}
        reads = {"room_id": "lobby", "user_ids": ["ada"], "seqs": [1]}
        told = await sender.take(3)
        for each in ({"marked_read": {"mark": mark}}, {"mark": mark}, {"reads": reads}):
            assert each in told
        told = await named.take(2)
        for each in ({"mark": mark}, {"reads": reads}):
            assert each in told
        assert await reader.take(1) == [{"reads": reads}]
        for client in (plain, elsewhere):
            assert await client.barrier() == []


async def test_calls_and_their_errors(http: Http) -> None:
    client = await connect(http)
    extra = {"mentions": ["bob"], "data": "{}"}
    sent = (await client.ask(chat_message=message("lobby", "hi", extra=extra)))["chat_message"]
    assert sent["extra"]["mentions"] == ["bob"]
    about = {"room_id": "lobby", "seq": 1, "user_id": "bob"}
    await client.ask(change_message=about | {"react": "👍"})
    told = (await client.ask(list_reactions={"room_id": "lobby", "seq": 1}))["reactions"]
    assert told["reactions"] == [{"emoji": "👍", "count": 1, "user_ids": ["bob"]}]
    page = (await client.ask(get_changes={"room_id": "lobby"}))["room_changes"]
    assert [each["seq"] for each in page["changes"]["messages"]] == [1]
    mark = (await client.ask(mark_read=about | {"seq": 0}))["marked_read"]["mark"]
    assert mark == {"room_id": "lobby", "seq": 0, "mentions": 1}
    refused: list[tuple[Frame, str, str]] = [
        (
            {"change_message": about | {"content": "no"}},
            "PERMISSION_DENIED",
            "change_message.content: ",
        ),
        ({"change_message": about}, "INVALID_ARGUMENT", "change_message.change: "),
        ({"change_message": about | {"seq": 7, "react": "x"}}, "NOT_FOUND", "change_message.seq: "),
        (
            {"change_message": about | {"if_change": 9, "unreact": "👍"}},
            "FAILED_PRECONDITION",
            "change_message.if_change: ",
        ),
        ({"mark_read": about | {"epoch": "another"}}, "FAILED_PRECONDITION", "mark_read.epoch: "),
        ({"list_reactions": {"room_id": "lobby"}}, "INVALID_ARGUMENT", "list_reactions.seq: "),
        ({"get_changes": {"room_id": ""}}, "INVALID_ARGUMENT", "get_changes.room_id: "),
        ({"erase_user": {"user_id": "bob"}}, "PERMISSION_DENIED", "erase_user.user_id: "),
    ]
    for frame, code, text in refused:
        error = (await client.ask(**frame))["error"]
        assert error["code"] == code, error
        assert error["message"].startswith(text), error
        assert error["retryable"] is False


async def test_each_of_many_is_answered_by_its_own_request_id(http: Http) -> None:
    """The server answers all of them at once, as they leave the same message."""
    clients = [await connect(http) for _ in range(5)]
    sent = (await clients[0].ask(chat_message=message("lobby")))["chat_message"]
    about = {"room_id": "lobby", "seq": sent["seq"]}
    names = [None, "a", 'b"', "", None]
    for nth, (client, name) in enumerate(zip(clients, names, strict=True)):
        given = {} if name is None else {"request_id": name}
        await client.send(change_message=about | {"user_id": f"user-{nth}", "react": "👍"}, **given)
    for client, name in zip(clients, names, strict=True):
        answer = await client.receive()
        assert answer.get("request_id") == name
        changed = answer["changed_message"]["message"]
        assert changed["id"] == sent["id"]
        assert changed["extra"]["state"]["reactions"][0]["count"] >= 1


async def test_call_is_made_again_on_the_next_link(node: Node, http: Http) -> None:
    client = await joined(http, "lobby")
    await client.ask(chat_message=message("lobby"))
    await node.stop()
    about = {"room_id": "lobby", "seq": 1, "user_id": "ada"}
    await client.send(change_message=about | {"react": "👍"}, request_id="mine")
    await node.start()
    answer = await client.receive()
    assert answer["request_id"] == "mine"
    assert answer["changed_message"]["message"]["extra"]["state"]["change"] == 1


async def test_extra_survives_a_lost_link(node: Node, http: Http) -> None:
    client, other = await joined(http, "lobby"), await joined(http, "lobby")
    await client.ask(chat_message=message("lobby", "first"))
    await node.stop()
    given = {"reply_to": 1, "mentions": ["bob"], "mentions_room": True, "data": "x"}
    forged = {"state": {"change": 7, "pinned": True}}
    await client.say("lobby", "second", extra=given | forged)
    await client.say("lobby", "third", extra=forged)
    await client.say("lobby", "fourth", extra={})
    await client.barrier()
    await node.start()
    frames = await client.take(3)
    assert [frame["chat_message"].get("extra") for frame in frames] == [given, None, None]
    assert (await other.take(4))[1:] == frames
    page = (await client.ask(get_chat_history={"room_id": "lobby"}))["chat_history"]["messages"]
    assert [{"chat_message": each} for each in page[1:]] == frames


async def test_wrong_follow_is_refused(http: Http) -> None:
    client = await connect(http)
    refused: list[tuple[Frame, str]] = [
        ({"follow": ["CHANGES", "CHANGES"]}, "join.follow: has CHANGES more than once"),
        ({"follow": [7]}, "join.follow: 7 is nothing that can be followed"),
        ({"follow": ["EVERYTHING"]}, "join.follow[0]: not a name of this enum"),
        ({"follow": ["CHANGES"], "after_change": 1}, "join.after_change: needs after_seq"),
        ({"after_seq": 1, "after_change": 1}, "join.after_change: needs after_seq"),
        ({"follow": ["READS"], "user_id": "x" * 1025}, "join.user_id: must have at most 1024"),
    ]
    for more, text in refused:
        error = (await client.ask(join={"room_id": "lobby", **more}))["error"]
        assert (error["code"], error["message"].startswith(text)) == ("INVALID_ARGUMENT", True), (
            error
        )
    assert "joined" in await client.ask(join={"room_id": "lobby", "follow": ["NONE", 4, 1]})
