"""An erasure that its server did not live to finish."""

from pathlib import Path

import chat
from gen.chat import ChatServiceStub, GetChatHistoryRequest
from tests.chat.storage.files import opened
from tests.support import channel_to, eventually, message


async def test_next_server_goes_on(chat_config: chat.Config) -> None:
    senders = ["ada", "bob"] * 3
    async with opened(Path(chat_config.database)) as store:
        await store.append(
            [message(content=by, sender_id=by, key=str(n)) for n, by in enumerate(senders)]
        )
        assert not (await store.erase("ada", 1)).done
    async with chat.serve(chat_config) as server, channel_to(server) as channel:
        stub = ChatServiceStub(channel)

        async def texts() -> list[str]:
            page = await stub.get_chat_history(GetChatHistoryRequest("room"))
            return [each.content for each in page.messages]

        async def is_erased() -> bool:
            return await texts() == ["", "bob"] * 3

        await eventually(is_erased)
