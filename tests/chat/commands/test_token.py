"""``python -m chat.commands.token``: tokens for development."""

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

import chat
import proxy
from chat.commands.token import command as token_command
from gen.chat import ChatMessage
from tests.access.doors import DOORS, opened
from tests.access.signing import verifier
from tests.chat.commands.calling import call
from tests.docs.markdown import ROOT, blocks
from tests.kit.processes import run


async def minted(folder: Path, *options: str) -> str:
    """Mints a token with the key of a folder."""
    command = await run("chat.commands.token", "--key", str(folder / "key.pem"), *options)
    assert command.status == 0, command.errors
    return command.output.strip()


async def test_minted_token_is_accepted(tmp_path: Path) -> None:
    token = await minted(
        tmp_path, "--subject", "ada", "--read", "lobby", "--read", "team-*", "--write", "lobby",
        "--role", "admin", "--issuer", "me", "--audience", "chat",
    )  # fmt: skip
    believes = verifier(tmp_path / "key.pem.jwks", issuer="me", audience="chat")
    identity = believes.verify(token)
    assert (identity.subject, identity.is_admin) == ("ada", True)
    assert [room in identity.reads for room in ("lobby", "team-red", "vault")] == [1, 1, 0]
    assert [room in identity.writes for room in ("lobby", "team-red")] == [1, 0]


async def test_key_is_created_once_and_private(tmp_path: Path) -> None:
    await minted(tmp_path, "--subject", "ada")
    first = (tmp_path / "key.pem").read_bytes()
    await minted(tmp_path, "--subject", "bob")
    assert (tmp_path / "key.pem").read_bytes() == first
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    [public] = json.loads((tmp_path / "key.pem.jwks").read_text())["keys"]
    assert "d" not in public


@pytest.mark.parametrize("content", ["nothing", "-----BEGIN PRIVATE KEY-----\nAA==\n"])
async def test_invalid_key_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "key.pem").write_text(content)
    key = tmp_path / "key.pem"
    command = await run("chat.commands.token", "--key", str(key), "--subject", "ada")
    assert command.status == 1
    assert command.output == ""
    assert command.errors.startswith(f"python -m chat.commands.token: {key}: cannot be")
    assert command.errors.count("\n") == 1


async def test_missing_public_key_is_recreated(tmp_path: Path) -> None:
    first = await minted(tmp_path, "--subject", "ada")
    public = tmp_path / "key.pem.jwks"
    public.unlink()
    await minted(tmp_path, "--subject", "bob")
    assert verifier(public).verify(first).subject == "ada"


async def test_token_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "tokens" / "proxy.token"
    subjects = ("edge", "edge-2")
    for subject in subjects:
        assert await minted(tmp_path, "--subject", subject, "--output", str(path)) == ""
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        token = path.read_text().strip()
        assert verifier(tmp_path / "key.pem.jwks").verify(token).subject == subject
        assert list(path.parent.iterdir()) == [path]


async def test_unwritable_file_is_named(tmp_path: Path) -> None:
    options = ("--key", str(tmp_path / "key.pem"), "--subject", "ada")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path / "key.pem" / "token", pipe):
        command = await run("chat.commands.token", *options, "--output", str(path))
        assert (command.status, command.output) == (1, "")
        assert command.errors.splitlines()[-1].startswith("python -m chat.commands.token: ")
        assert "Traceback" not in command.errors


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[(option, "a\udcff") for option in ("--subject", "--read", "--write")],
        *[(option, "a\udcff") for option in ("--issuer", "--audience", "--key", "--output")],
        ("--subject", ""),
        ("--subject", "a\nb"),
        ("--seconds", "0"),
        ("--seconds", "9" * 30),
        ("--seconds", "inf"),
    ],
)
async def test_invalid_token_is_not_minted(tmp_path: Path, option: str, value: str) -> None:
    options = {"--subject": "ada", "--key": str(tmp_path / "key.pem"), option: value}
    ended = await call(token_command, *[each for pair in options.items() for each in pair])
    assert (ended.status, ended.output) == (2, "")
    assert f"Error: Invalid value for '{option}'" in ended.errors
    assert not (tmp_path / "key.pem").exists()


def described_commands() -> list[list[str]]:
    """The minting commands of docs/security.md."""
    lines = [line for block in blocks(ROOT / "docs/security.md", "sh")
             for line in block.text.replace("\\\n", "").splitlines()]  # fmt: skip
    return [line.split() for line in lines if "chat.commands.token" in line]


async def test_documented_commands_mint_tokens(tmp_path: Path, chat_config: chat.Config) -> None:
    credential = tmp_path / "proxy.token"
    for_user, for_proxy = [
        [option.replace("data/proxy.token", str(credential)) for option in command[3:]]
        for command in described_commands()
    ]
    token = await minted(tmp_path, *for_user)
    await minted(tmp_path, *for_proxy)
    config = replace(chat_config, trust=chat.Trust(token_keys=str(tmp_path / "key.pem.jwks")))
    proxy_config = proxy.Config(host="127.0.0.1", port=0, upstream_token_file=str(credential))
    async with opened(config, proxy_config) as doors:
        for door in DOORS:
            async with doors.visit(door, token) as ada:
                said = ChatMessage(room_id="lobby", content="hello")
                assert (await ada.ask(said)).sender_id == "ada"
