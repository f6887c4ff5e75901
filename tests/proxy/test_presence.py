"""Active users, as sockets open and close."""

from gen.chat import ChatServiceStub, GetUserRequest, UserStatus
from tests.proxy.web_client import (
    Client,
    Connect,
    message,
)


async def status_of(client: Client, user_id: str) -> str:
    answer = await client.ask(get_user={"user_id": user_id})
    status = answer["user"]["user"]["status"]
    assert isinstance(status, str)
    return status


async def test_user_active_while_socket_open(connect: Connect, stub: ChatServiceStub) -> None:
    """Whichever it is, and whoever else speaks through it."""
    watcher, first, second = await connect(), await connect(), await connect()
    for client, user_id in ((first, "bob"), (second, "bob"), (second, "eve")):
        await client.ask(chat_message=message("lobby", sender_id=user_id))
        assert await status_of(watcher, user_id) == "ACTIVE"
    await first.socket.close()
    assert await status_of(watcher, "bob") == "ACTIVE"
    await second.socket.close()
    assert [await status_of(watcher, each) for each in ("bob", "eve")] == ["INACTIVE"] * 2
    response = await stub.get_user(GetUserRequest("bob"))
    assert response.user.status == UserStatus.INACTIVE


async def test_leaving_room_keeps_user_active(connect: Connect) -> None:
    client = await connect()
    await client.ask(chat_message=message("lobby"))
    await client.ask(leave={"room_id": "lobby"})
    assert await status_of(client, "ada") == "ACTIVE"


async def test_reader_is_not_active(connect: Connect) -> None:
    client, sender = await connect(), await connect()
    await client.ask(upsert_user={"user_id": "bob", "name": "Bob"})
    await client.ask(join={"room_id": "lobby"})
    await sender.ask(chat_message=message("lobby", sender_id="ada"))
    await client.receive()
    assert await status_of(client, "bob") == "INACTIVE"
