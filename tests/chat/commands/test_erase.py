"""``python -m chat.erase`` and ``python -m chat.export``."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import orjson
import pytest

import chat
from chat.commands.erase import command as erase
from chat.commands.export import command as export
from chat.commands.token import load_key, mint
from chat.storage.base import Store
from chat.storage.changes import Change
from gen.chat import ChangeMessageRequest, Delete, MessageExtra
from tests.chat.commands.calling import call
from tests.chat.storage.files import execute, open_store, opened
from tests.chat.storage.postgres.nodes import opened as opened_there
from tests.kit.processes import run
from tests.support import message

Lines = list[dict[str, Any]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


async def fill(store: Store) -> None:
    """Some of everything about ada, and of bob, who is somebody else."""
    await store.upsert_user("ada", "Ada", "ada@example.org")
    for room in ("blue", "red"):
        for nth in range(3):
            await store.append([message(room, f"ada's {nth}", key=f"a{nth}")])
            await store.append([message(room, "bob's", sender_id="bob", key=f"b{nth}")])
    mention = message("red", "hello ada", sender_id="bob", key="mention")
    mention.extra = MessageExtra(mentions=["ada"])
    reply = message("red", "hello bob", key="reply")
    reply.extra = MessageExtra(reply_to=7)
    await store.append([mention, reply])
    for request in (
        ChangeMessageRequest("red", 1, "ada", content="edited"),
        ChangeMessageRequest("red", 3, "ada", delete=Delete()),
        ChangeMessageRequest("red", 2, "ada", react="👍"),
        ChangeMessageRequest("red", 5, "bob", react="🎉"),
    ):
        await store.change(Change(request))
    await store.mark("ada", "red", 7, back=False)


def content(path: Path) -> bytes:
    return path.read_bytes()


def lines(output: str) -> Lines:
    return [orjson.loads(line) for line in output.splitlines()]


def of_kind(exported: Lines, kind: str) -> Lines:
    return [line[kind] for line in exported if kind in line]


def check_export(exported: Lines) -> None:
    kinds = [kind for line in exported for kind in line]
    assert kinds == [
        "user", "mark", *["message"] * 7, "reaction", "mentioned_in",
    ]  # fmt: skip
    assert of_kind(exported, "user") == [
        {"id": "ada", "name": "Ada", "email": "ada@example.org", "tone": 0}
    ]
    assert of_kind(exported, "mark") == [{"room_id": "red", "seq": 7}]
    assert of_kind(exported, "reaction") == [{"room_id": "red", "seq": 2, "emoji": "👍"}]
    assert of_kind(exported, "mentioned_in") == [{"room_id": "red", "seq": 7}]
    messages = of_kind(exported, "message")
    assert {each["sender_id"] for each in messages} == {"ada"}
    assert [(each["room_id"], each["seq"], each["content"]) for each in messages] == [
        ("blue", 1, "ada's 0"), ("blue", 3, "ada's 1"), ("blue", 5, "ada's 2"),
        ("red", 1, "edited"), ("red", 3, ""), ("red", 5, "ada's 2"), ("red", 8, "hello bob"),
    ]  # fmt: skip
    edited, deleted, liked, reply = messages[3:]
    assert edited["extra"]["state"]["change"] == 1
    assert deleted["extra"]["state"]["deleted_at"]
    assert [each["emoji"] for each in liked["extra"]["state"]["reactions"]] == ["🎉"]
    assert reply["extra"]["reply_to"] == 7


@pytest.mark.parametrize("is_folded", [False, True])
async def test_export_beside_a_running_server(path: Path, *, is_folded: bool) -> None:
    store = await open_store(path)
    await fill(store)
    if is_folded:
        await store.close()
        store = await open_store(path)
    ended = await run("chat.export", "ada", "--database", str(path))
    assert ended.status == 0, ended.errors
    check_export(lines(ended.output))
    assert not store.health.reason
    await store.close()


async def test_export_of_a_closed_file_into_a_private_one(path: Path) -> None:
    async with opened(path) as store:
        await fill(store)
    beside = set(path.parent.iterdir())
    output = path.with_name("ada.jsonl")
    command = ("ada", "--output", str(output))
    ended = await call(export, *command, CHAT_DATABASE=str(path))
    assert (ended.status, ended.output) == (0, ""), ended.errors
    check_export(lines(output.read_text()))
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert set(path.parent.iterdir()) == beside | {output}
    again = await call(export, *command, CHAT_DATABASE=str(path))
    assert again.status == 1
    assert "it is not overwritten" in again.errors


async def test_export_of_nobody_is_empty(path: Path) -> None:
    await (await open_store(path)).close()
    ended = await call(export, "nobody", "--database", str(path))
    assert (ended.status, ended.output) == (0, ""), ended.errors


async def test_erased_in_a_closed_file(path: Path) -> None:
    async with opened(path) as store:
        await fill(store)
    ended = await run("chat.erase", "ada", "--database", str(path))
    assert ended.status == 0, ended.errors
    assert ended.output.splitlines() == [
        "erased: ada, 6 messages",
        "scrubbed: nothing that was deleted is in the file",
    ]
    assert "Backups" in ended.errors
    for piece in (b"ada's", b"hello bob", b"edited", b"ada@example.org"):
        for file in path.parent.iterdir():
            assert piece not in file.read_bytes(), (piece, file)
    exported = lines((await call(export, "ada", "--database", str(path))).output)
    assert {kind for line in exported for kind in line} == {"message"}
    assert all(not each["content"] for each in of_kind(exported, "message"))


async def test_scrub_alone(path: Path) -> None:
    async with opened(path) as store:
        await fill(store)
        await store.change(Change(ChangeMessageRequest("blue", 1, "ada", delete=Delete())))
    assert b"ada's 0" in content(path)
    ended = await call(erase, "--scrub", "--database", str(path))
    assert ended.status == 0, ended.errors
    assert b"ada's 0" not in content(path)


async def test_erased_by_a_running_server(tmp_path: Path) -> None:
    key = load_key(tmp_path / "key.pem")
    token = tmp_path / "token"
    claims = {"sub": "root", "exp": 1 << 32, "rooms": {"read": ["*"], "write": ["*"]}}
    trust = chat.Trust(token_keys=str(tmp_path / "key.pem.jwks"))
    database = tmp_path / "chat.db"
    async with opened(database) as store:
        await fill(store)
    config = chat.Config(host="127.0.0.1", port=0, database=str(database), trust=trust)
    async with chat.serve(config) as server:
        command = ("ada", "--server", server.address, "--token-file", str(token))
        token.write_text(mint(key, "key.pem", {**claims, "role": "user"}))
        refused = await call(erase, *command)
        assert refused.status == 1
        assert "answered PERMISSION_DENIED: " in refused.errors
        token.write_text(mint(key, "key.pem", {**claims, "role": "admin"}) + "\n")
        ended = await call(erase, *command)
        assert ended.status == 0, ended.errors
        assert ended.output == "erased: ada, 6 messages\n"
    gone = await call(erase, *command)
    assert gone.status == 1
    assert "cannot be asked" in gone.errors


async def test_erased_and_exported_in_postgresql(postgres_url: str) -> None:
    async with opened_there(postgres_url) as store:
        await fill(store)
        check_export(lines((await call(export, "ada", CHAT_DATABASE=postgres_url)).output))
        ended = await call(erase, "ada", "--database", postgres_url)
        assert ended.status == 0, ended.errors
        assert ended.output == "erased: ada, 6 messages\n"
        assert "until --scrub" in ended.errors
        assert (await store.get_user("ada")) is None
    ended = await call(erase, "--scrub", "--database", postgres_url)
    assert ended.status == 0, ended.errors
    assert ended.output.startswith("scrubbed: all tables were written anew, ")


class TestRefusals:
    """They end with one line, and change nothing."""

    @pytest.mark.parametrize(
        ("options", "status", "error"),
        [
            ([], 2, "Give a USER, or --scrub."),
            (["ada", "--server", "localhost:1"], 2, "--server needs the --token-file of an admin."),
            (["ada", "--server", "x", "--token-file", "t"], 2, "server must"),
            (["--scrub", "--server", "localhost:1"], 2, "--server takes a USER, and no --scrub"),
            (
                ["ada", "--server", "localhost:1", "--token-file", "none"],
                1,
                "cannot read the token",
            ),
            (["ada\n"], 2, "user"),
            (["ada", "--database", "nothing.db"], 1, "there is no such file"),
        ],
    )
    async def test_wrong_options(self, options: list[str], status: int, error: str) -> None:
        ended = await call(erase, *options)
        assert ended.status == status, ended.errors
        assert error in ended.errors

    async def test_file_in_use(self, path: Path) -> None:
        async with opened(path):
            ended = await call(erase, "ada", "--database", str(path))
        assert ended.status == 1
        assert "another server has it open (--server lets a running server do it)" in ended.errors

    @pytest.mark.parametrize("command", [erase, export])
    @pytest.mark.parametrize("make", [lambda path: path.write_text("no database"), None])
    async def test_no_database(
        self, path: Path, command: click.Command, make: Callable[[Path], object] | None
    ) -> None:
        if make is None:
            execute(path, "CREATE TABLE theirs (text)")
        else:
            make(path)
        before = content(path)
        ended = await call(command, "ada", "--database", str(path))
        assert ended.status == 1
        assert ended.errors.count("\n") == 1
        assert content(path) == before
