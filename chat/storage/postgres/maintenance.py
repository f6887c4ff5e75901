"""A database for commands beside the servers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chat.storage.base import StoreError, StoreUnusable
from chat.storage.postgres import schema
from chat.storage.postgres.address import Address
from chat.storage.postgres.connections import Connection, Connector, close
from chat.storage.postgres.errors import FAILURES, text_of, unusable


@asynccontextmanager
async def open_database(url: str, password_file: str = "") -> AsyncIterator[Connection]:
    """A connection to a database; its tables are made if there are none.

    What fails in the database while it is open is told in the same way.

    Raises:
        StoreUnusable: it cannot be used; the text says why, in one line.
    """
    address = Address.parse(url, password_file)
    try:
        connection = await Connector(address, f"chat command {os.getpid()}").connect(schema.prepare)
    except (*FAILURES, StoreError) as error:
        raise unusable(address.shown, error) from error
    try:
        yield connection
    except FAILURES as error:
        raise StoreUnusable(f"the database {address.shown}: {text_of(error)}") from error
    finally:
        await close(connection)
