"""Nodes on one database hear of each other's messages."""

import asyncio

from tests.chat.storage.postgres.nodes import node


async def test_messages_of_another_node(postgres_url: str) -> None:
    async with node(postgres_url) as one, node(postgres_url) as other:
        assert await one.store.follow("room") == 0
        await other.send(3)
        heard = await one.hears(3)
        assert not other.announced
        assert one.store.epoch == other.store.epoch
        await one.send()
        assert len(await one.hears(4)) == len(heard) + 1
        assert one.metrics.sweep_found == 0


async def test_both_write_into_one_room(postgres_url: str) -> None:
    async with node(postgres_url) as one, node(postgres_url) as other:
        for each in (one, other):
            await each.store.follow("room")
        sent = await asyncio.gather(*(each.send(300) for each in (one, other)))
        for each, own in zip((one, other), sent, strict=True):
            heard = await each.hears(600)
            # The very objects, whose senders wait for them.
            assert {id(message) for message in own} <= {id(message) for message in heard}
