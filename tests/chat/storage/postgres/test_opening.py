"""A database that cannot be opened is told in one line, with what helps, and without secrets."""

import functools
import os
import shutil
import socket
import sys
from pathlib import Path

import aiohttp
import asyncpg
import pytest
import trustme
from structlog.testing import capture_logs

import chat
from chat.storage.base import StoreUnusable
from chat.storage.listener import Listener
from chat.storage.postgres import PostgresStore
from chat.storage.postgres.address import Address
from chat.storage.postgres.errors import unusable
from chat.storage.postgres.schema import check_server, migrations
from tests.chat.storage.postgres.nodes import opened
from tests.kit.homes import home
from tests.kit.ports import free_ports
from tests.kit.postgres import Postgres
from tests.support import message

SECRET = "pass-Word-17"  # noqa: S105 - of nothing


async def refusal(url: str, password_file: str = "") -> str:
    """Opens a database that cannot be opened; returns the reason."""
    with capture_logs() as logs, pytest.raises(StoreUnusable) as failure:
        await PostgresStore.open(url, Listener(), 1 << 20, password_file=password_file)
    text = str(failure.value)
    assert "\n" not in text
    assert SECRET not in text + repr(logs) + repr(failure.value)
    return text


async def works(url: str, password_file: str = "", room_id: str = "room") -> None:
    """Opens a database, and stores a message."""
    async with opened(url, password_file=password_file) as store:
        [sent] = await store.append([message(room_id, key="1")])
        assert sent.seq == 1


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"postgresql://ada:{SECRET}@h:port/name", "port from 1 to 65535"),
        (f"postgresql://ada:{SECRET}@h:99999/name", "port from 1 to 65535"),
        (f"postgresql://ada:{SECRET}@h:0/name", "port from 1 to 65535"),
        (f"postgresql://ada:{SECRET}@h1,,h2/name", "must be a name or an address"),
        (f"postgresql://ada:{SECRET}@[::1/name", "malformed"),
        (f"postgresql://ada:{SECRET}@x@h/name", "%40 for @"),
        (f"postgresql://ada:{SECRET}#x@h/name", "percent signs"),
        (f"postgresql://ada:{SECRET}/x@h/name", "malformed"),
        (f"postgresql://ada:{SECRET}@h/name?sslmode", "malformed"),
        (f"postgresql://ada:{SECRET}@h/name/x", "malformed"),
        (f"postgresql://ada:{SECRET}@/name?host=h&port=x", "port from 1 to 65535"),
        (f"postgresql://ada:{SECRET}@h/name?sslmode=no", "`sslmode` parameter must be one of"),
        (f"postgresql://ada:{SECRET}@h/n?sslmode=verify-ca&sslrootcert=/no/file", "No such file"),
    ],
)
async def test_malformed_url(url: str, why: str) -> None:
    assert why in await refusal(url)


def test_url_is_read() -> None:
    address = Address.parse(f"postgresql://a:{SECRET}@h1:5000,[::1]:5001,h3/na%20me?x=y", "")
    assert address.hosts == (("h1", 5000), ("::1", 5001), ("h3", 5432))
    assert address.shown == "postgresql://h1:5000,[::1]:5001,h3:5432/na me"
    assert SECRET not in repr(address)
    address = Address.parse("postgresql:///name?host=/run/a,h2&port=1,2")
    assert address.hosts == (("/run/a", 1), ("h2", 2))
    assert Address.parse("postgresql:///name").hosts == ()


def test_settings_do_not_print_a_password() -> None:
    url = f"postgresql://ada:{SECRET}@h/name"
    config = chat.Config(database=url, hints=f"valkey://:{SECRET}@h")
    assert SECRET not in repr(config)
    with pytest.raises(ValueError, match="database must be the path") as failure:
        chat.Config(database=f"mysql://ada:{SECRET}@h/name")
    assert SECRET not in str(failure.value)
    with pytest.raises(ValueError, match="hints must be empty") as failure:
        chat.Config(hints=f"nats://:{SECRET}@h")
    assert SECRET not in str(failure.value)


async def test_password_of_hints_is_given_once() -> None:
    config = chat.Config(
        database="postgresql://nowhere.invalid/name",
        hints=f"valkey://:{SECRET}@h",
        hints_password_file="file",  # noqa: S106 - only its name
    )
    with pytest.raises(StoreUnusable, match="in their URL and in a file, too") as failure:
        async with chat.serve(config):
            pass
    assert SECRET not in str(failure.value)


async def test_no_server() -> None:
    [port] = free_ports(1)
    why = await refusal(f"postgresql://ada:{SECRET}@127.0.0.1:{port}/name")
    assert why.startswith(f"cannot open the database postgresql://127.0.0.1:{port}/name: ")
    assert "refused" in why
    assert "nowhere" in await refusal("postgresql://nowhere.invalid/name")


async def test_silent_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts nobody
        port = listener.getsockname()[1]
        why = await refusal(f"postgresql://ada@127.0.0.1:{port}/name?sslmode=disable")
    assert "the server does not answer" in why


async def test_wrong_names_and_passwords(
    postgres: Postgres, postgres_url: str, tmp_path: Path
) -> None:
    name = postgres_url.rpartition("/")[2]
    assert "create it" in await refusal(postgres.url("not there"))
    assert "check user and password" in await refusal(postgres.url(name, user=f"ada:{SECRET}"))
    assert "check user and password" in await refusal(postgres.url(name, user="ada"))
    file = tmp_path / "password"
    why = await refusal(postgres.url(name, user="ada"), str(file))
    assert f"No such file or directory: '{file}'" in why
    file.write_text("\n")
    assert "there is no password in" in await refusal(postgres.url(name, user="ada"), str(file))
    file.write_text(f"{SECRET}\n")
    assert "check user and password" in await refusal(postgres.url(name, user="ada"), str(file))
    why = await refusal(postgres.url(name, user=f"ada:{SECRET}"), str(file))
    assert "in its URL and in a file" in why


async def test_password_comes_from_a_file(
    postgres: Postgres, postgres_url: str, tmp_path: Path
) -> None:
    name = postgres_url.rpartition("/")[2]
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    user = f"ada_{name}"
    await postgres.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{SECRET}'")
    try:
        url = postgres.url(name, user=user)
        why = await refusal(url, str(file))
        assert "permission denied for database" in why
        assert "start once as the owner of the schema, or grant the rights" in why
        await postgres.execute(f'GRANT CREATE ON DATABASE "{name}" TO {user}')
        await works(url, str(file))
        await told_nowhere(postgres.url(name, user=f"{user}:{SECRET}"))
        await postgres.execute(f"DROP OWNED BY {user}", database=name)
    finally:
        await postgres.execute(f"DROP ROLE {user}")


async def told_nowhere(url: str) -> None:
    """Runs a server on a URL with a password, and looks at all that it tells."""
    config = chat.Config(host="127.0.0.1", port=0, database=url, metrics_port=0)
    with capture_logs() as logs:
        async with chat.serve(config) as server, aiohttp.ClientSession() as session:
            for path in ("", "metrics", "data"):
                async with session.get(f"{server.status_url}{path}") as response:
                    assert SECRET not in await response.text()
    assert SECRET not in repr(logs)


async def test_rights_of_others(postgres: Postgres, postgres_url: str) -> None:
    """Who may read and write what another role has made needs no other rights."""
    name = postgres_url.rpartition("/")[2]
    user = f"node_{name}"
    await works(postgres_url)
    await postgres.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{SECRET}'")
    try:
        url = postgres.url(name, user=f"{user}:{SECRET}")
        assert "permission denied" in await refusal(url)
        for grant in (
            "USAGE ON SCHEMA chat",
            "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA chat",
        ):
            await postgres.execute(f"GRANT {grant} TO {user}", database=name)
        await works(url, room_id="another room")
        await postgres.execute(
            "UPDATE chat.meta SET value = '0' WHERE key = 'version'", database=name
        )
        assert "start once as the owner of the schema" in await refusal(url)
        await postgres.execute(f"DROP OWNED BY {user}", database=name)
    finally:
        await postgres.execute(f"DROP ROLE {user}")


async def test_schema_of_something_else(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    for table in (
        "people (name text)",
        "meta (name text)",
        "meta (key text, value text)",
        "meta AS SELECT 'version' AS key, 'one' AS value",
    ):
        await connection.execute(f"CREATE SCHEMA chat; CREATE TABLE chat.{table}")
        assert "of something else" in await refusal(postgres_url)
        await connection.execute("DROP SCHEMA chat CASCADE")
    await connection.execute("CREATE SCHEMA chat")
    await connection.close()
    await works(postgres_url)  # an empty one is used


async def test_newer_schema(postgres: Postgres, postgres_url: str) -> None:
    """It is used if it says that this program may."""
    name, known = postgres_url.rpartition("/")[2], len(migrations())
    await works(postgres_url)
    newer = "UPDATE chat.meta SET value = $1 WHERE key = $2"
    await postgres.execute(newer, str(known + 1), "version", database=name)
    async with opened(postgres_url):
        pass
    await postgres.execute(newer, str(known + 1), "compatible", database=name)
    why = await refusal(postgres_url)
    assert f"has version {known + 1}, and this program knows {known} at most" in why


async def test_unsuitable_databases(postgres: Postgres, postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2]
    await postgres.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    assert "no server takes writes" in await refusal(postgres_url)
    latin = f"latin_{name}"
    await postgres.execute(f"CREATE DATABASE {latin} ENCODING 'LATIN1' TEMPLATE template0")
    try:
        assert "its encoding is LATIN1" in await refusal(postgres.url(latin))
    finally:
        await postgres.execute(f"DROP DATABASE {latin} WITH (FORCE)")


@pytest.mark.parametrize(
    ("version", "encoding", "is_read_only", "why"),
    [
        (130011, "UTF8", False, "the server is PostgreSQL 13: version 14 or later is needed"),
        (140000, "SQL_ASCII", False, "its encoding is SQL_ASCII"),
        (140000, "UTF8", True, "it is read-only"),
    ],
)
def test_unsuitable_servers(version: int, encoding: str, is_read_only: bool, why: str) -> None:
    with pytest.raises(StoreUnusable, match=why):
        check_server(version, encoding, is_read_only=is_read_only)
    check_server(140000, "UTF8", is_read_only=False)


def test_pooler_is_named() -> None:
    error = asyncpg.ProtocolViolationError("unsupported startup parameter: search_path")
    text = str(unusable("postgresql://h:5432/name", error))
    assert text.endswith("search_path: name the server itself, not a pooler in front of it")


async def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chat.storage.postgres", None)
    with pytest.raises(StoreUnusable, match=r"asyncio-grpc-chat\[postgresql\]"):
        async with chat.serve(chat.Config(port=0, database="postgresql://h/name")):
            pass


@pytest.mark.usefixtures("postgres_programs")
async def test_heir_of_a_primary_that_lives_on() -> None:
    """Both take writes; whoever took the old one would write what nobody else reads."""
    async with Postgres.running() as old, old.standby() as heir:
        await works(old.url("postgres"))
        await heir.promote()
        urls = {"2": old.url("postgres", heir), "3": heir.url("postgres", old)}
        for key, url in urls.items():
            async with opened(url) as store:
                await store.append([message(key=key)])
        count = "SELECT head FROM chat.rooms"
        assert [row["head"] for row in await old.execute(count)] == [1]
        assert [row["head"] >= 2 for row in await heir.execute(count)] == [True]


@pytest.mark.usefixtures("postgres_programs")
async def test_tls(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    stranger.cert_pem.write_to_path(tmp_path / "stranger.pem")
    certificate = authority.issue_cert("127.0.0.1")
    owner = "postgres" if os.geteuid() == 0 else None
    with home("certificate", owner) as folder:
        files = folder / "server.pem", folder / "server.key"
        certificate.cert_chain_pems[0].write_to_path(files[0])
        certificate.private_key_pem.write_to_path(files[1])
        for file in files:
            file.chmod(0o600)
            if owner:
                shutil.chown(file, owner)
        certificate_file, key_file = map(str, files)
        async with Postgres.running(
            ssl="on", ssl_cert_file=certificate_file, ssl_key_file=key_file
        ) as server:
            database = functools.partial(server.url, "postgres", sslmode="verify-full")
            await works(database(sslrootcert=f"{tmp_path}/ca.pem"))
            why = await refusal(database(sslrootcert=f"{tmp_path}/stranger.pem"))
            assert "certificate verify failed" in why
            [row] = await server.execute("SELECT count(*) FROM pg_stat_ssl WHERE ssl")
            assert row["count"] > 0
