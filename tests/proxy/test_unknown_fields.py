"""Unknown fields from a server with a newer schema: dropped on arrival."""

from typing import Any

import betterproto

import codec
import proxy
from tests.filling import filled, holders
from tests.proxy.nodes import nodes
from tests.proxy.web_client import joined, message, seqs, serve_http


class NewerCodec(codec.GrpcCodec):
    """Adds a field to each message of the server."""

    def encode(self, message: Any, message_type: Any) -> bytes:
        whole = codec.decode(message_type, super().encode(message, message_type))
        return filled(whole, of=betterproto.Message)


async def test_unknown_server_fields_are_dropped() -> None:
    async with nodes(1) as [node]:
        await node.stop()
        node.wire = NewerCodec()
        await node.start()
        async with serve_http(proxy.Config(upstream=node.address)) as http:
            client = await joined(http, "room")
            assert seqs([await client.ask(chat_message=message("room"))]) == [1]
            page = await client.ask(get_chat_history={"room_id": "room"})
            assert len(page["chat_history"]["messages"]) == 1
            assert holders() == 0
