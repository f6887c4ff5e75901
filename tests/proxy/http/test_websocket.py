"""The frames of the contract, through a real proxy and a real chat server."""

from datetime import UTC, datetime, timedelta

from proxy.core.call_table import calls_of_schema
from tests.proxy.web_client import (
    Connect,
    Frame,
    contents,
    message,
    seqs,
)


async def test_message_returns_with_seq_and_time(connect: Connect) -> None:
    client = await connect()
    before = datetime.now(UTC)
    sent = message("lobby", id="one")
    await client.send(chat_message=sent)
    [(kind, answer)] = (await client.receive()).items()
    sent_at = datetime.fromisoformat(answer.pop("sent_at"))
    assert kind == "chat_message"
    assert answer == {**sent, "seq": 1}
    assert before - timedelta(seconds=1) <= sent_at <= datetime.now(UTC)


async def test_members_get_the_same_message(connect: Connect) -> None:
    sender, reader, elsewhere = await connect(), await connect(), await connect()
    await reader.ask(join={"room_id": "lobby"})
    await elsewhere.ask(join={"room_id": "attic"})
    await sender.say("lobby", "hello")
    assert await reader.receive() == await sender.receive()
    assert await elsewhere.barrier() == []


async def test_join_of_a_new_room(connect: Connect) -> None:
    answer = await (await connect()).ask(join={"room_id": "lobby"})
    epoch = answer["joined"].pop("epoch")
    assert epoch
    assert answer == {"joined": {"room_id": "lobby", "last_seq": 0, "recovered": False}}


async def test_leaver_gets_no_more_messages(connect: Connect) -> None:
    leaver, sender = await connect(), await connect()
    await leaver.ask(join={"room_id": "lobby"})
    assert await leaver.ask(leave={"room_id": "lobby"}) == {"left": {"room_id": "lobby"}}
    await sender.ask(chat_message=message("lobby"))
    assert await leaver.barrier() == []


async def test_leaving_an_unjoined_room_is_answered(connect: Connect) -> None:
    answer = await (await connect()).ask(leave={"room_id": "attic"})
    assert answer == {"left": {"room_id": "attic"}}


async def test_history_pages(connect: Connect) -> None:
    client = await connect()
    for number in range(1, 8):
        await client.ask(chat_message=message("lobby", str(number)))
    epoch = (await client.ask(join={"room_id": "lobby"}))["joined"]["epoch"]

    async def page(**asked: int) -> tuple[list[str], bool]:
        history = (await client.ask(get_chat_history={"room_id": "lobby", **asked}))["chat_history"]
        assert history["epoch"] == epoch
        return [each["content"] for each in history["messages"]], history["has_more"]

    assert await page() == (list("1234567"), False)
    assert await page(limit=3) == (list("567"), True)
    assert await page(limit=3, before_seq=5) == (list("234"), True)
    assert await page(limit=3, before_seq=4) == (list("123"), False)
    assert await page(limit=3, after_seq=2) == (list("345"), True)
    assert await page(limit=3, after_seq=4) == (list("567"), False)
    assert await page(after_seq=2, before_seq=5) == (list("34"), False)
    assert await page(after_seq=7) == ([], False)


async def test_sender_becomes_a_user(connect: Connect) -> None:
    client = await connect()
    await client.ask(chat_message=message("lobby", sender_id="ada"))
    user = {"id": "ada", "name": "ada", "email": "", "status": "ACTIVE"}
    assert await client.ask(get_user={"user_id": "ada"}) == {"user": {"user": user}}


async def test_users_are_written_and_listed(connect: Connect) -> None:
    client = await connect()
    stored = []
    for user_id in ("ada", "bob", "eve"):
        asked = {"user_id": user_id, "name": user_id.title(), "email": f"{user_id}@example.com"}
        user = (await client.ask(upsert_user=asked))["upserted_user"]["user"]
        assert user == {
            "id": user_id,
            "name": asked["name"],
            "email": asked["email"],
            "status": "INACTIVE",
        }
        stored.append(user)
    first = (await client.ask(list_users={"page_size": 2}))["users"]
    token = first["next_page_token"]
    rest = (await client.ask(list_users={"page_size": 2, "page_token": token}))["users"]
    assert first["users"] + rest["users"] == stored
    assert rest["next_page_token"] == ""


async def test_unknown_user_is_not_found(connect: Connect) -> None:
    error = (await (await connect()).ask(get_user={"user_id": "nobody"}))["error"]
    assert error["code"] == "NOT_FOUND"
    assert error["message"].startswith("get_user.user_id: ")
    assert error["retryable"] is False


async def test_schema_calls_are_answered(connect: Connect) -> None:
    client = await connect()
    for call in calls_of_schema().values():
        answer = await client.ask(**{call.field: {}})
        if "error" in answer:
            assert answer["error"]["code"] == "INVALID_ARGUMENT"
            assert answer["error"]["message"].startswith(f"{call.field}.")
        else:
            assert list(answer) == [call.answer]


# Names and request ids.

ODD = 'say "hi"\n\t\x00'
BOTH_STYLES: list[tuple[Frame, Frame]] = [
    (
        {"chat_message": {"id": "1", "room_id": "r", "sender_id": "a", "content": "c"}},
        {"chatMessage": {"id": "1", "roomId": "r", "senderId": "a", "content": "c"}},
    ),
    ({"join": {"room_id": "j", "after_seq": 0}}, {"join": {"roomId": "j", "afterSeq": 0}}),
    ({"leave": {"room_id": "r"}}, {"leave": {"roomId": "r"}}),
    (
        {"get_chat_history": {"room_id": "r", "after_seq": 0, "before_seq": 9}},
        {"getChatHistory": {"roomId": "r", "afterSeq": 0, "beforeSeq": 9}},
    ),
    ({"get_user": {"user_id": "a"}}, {"getUser": {"userId": "a"}}),
    (
        {"upsert_user": {"user_id": "a", "name": "A"}},
        {"upsertUser": {"userId": "a", "name": "A"}},
    ),
    (
        {"list_users": {"page_size": 1, "page_token": "a"}},
        {"listUsers": {"pageSize": 1, "pageToken": "a"}},
    ),
]


async def test_field_names_in_both_styles(connect: Connect) -> None:
    client = await connect()
    for snake, camel in BOTH_STYLES:
        await client.send(**snake, request_id="same")
        answer = await client.receive()
        await client.send(**camel, requestId="same")
        assert await client.receive() == answer
        assert answer["request_id"] == "same"


async def test_request_id_is_any_text_or_none(connect: Connect) -> None:
    client = await connect()
    for own in ({}, *({"request_id": each} for each in ("", "7", ODD, "💬", "x" * 1000))):
        for frame in ({"leave": {"room_id": "r"}}, {"chat_message": message("r")}, {"nonsense": 1}):
            await client.send(**frame, **own)
            assert (await client.receive()).get("request_id") == own.get("request_id")


async def test_request_ids_match_in_a_burst(connect: Connect) -> None:
    clients = [await connect() for _ in range(3)]
    for client in clients:
        await client.ask(join={"room_id": "lobby"})
    for number in range(50):
        for index, client in enumerate(clients):
            own = {"request_id": f"{index}-{number}"} if number % 3 else {}
            await client.send(chat_message=message("lobby", f"{index}-{number}"), **own)
    for index, client in enumerate(clients):
        frames = await client.take(150)
        assert seqs(frames) == list(range(1, 151))
        for frame in frames:
            content = frame["chat_message"]["content"]
            mine = content.startswith(f"{index}-") and int(content[2:]) % 3 > 0
            assert frame.get("request_id") == (content if mine else None)
        texts = contents(frames)
        for sender in range(3):
            own_texts = [text for text in texts if text.startswith(f"{sender}-")]
            assert own_texts == [f"{sender}-{number}" for number in range(50)]
