"""Names and numbers of the contract: existing clients keep working."""

from pathlib import Path

import pytest

from tests.buf import Result, buf

ROOT = Path(__file__).parents[3]
SCHEMA = (ROOT / "proto" / "chat.proto").read_text()
CONTRACT = (ROOT / "tests" / "node" / "contract.proto").read_text()


async def compare(schema: str, folder: Path) -> Result:
    """Breaking changes of a schema for clients of the contract."""
    for name, text in (("now", schema), ("contract", CONTRACT)):
        (folder / name).mkdir()
        (folder / name / "chat.proto").write_text(text)
    return await buf("breaking", folder / "now", "--against", folder / "contract")


async def test_schema_keeps_the_contract(tmp_path: Path) -> None:
    result = await compare(SCHEMA, tmp_path)
    assert result == (0, "", "")


BREAKS = {
    "another number": ("string content = 4;", "string content = 14;"),
    "another name": ("string room_id = 2;", "string room = 2;"),
    "another type": ("int32 limit = 2;", "int64 limit = 2;"),
    "another number in an enum": ("INACTIVE = 2;", "INACTIVE = 3;"),
    "a field less": ("string email = 3;", ""),
    "a call less": ("rpc GetUser(GetUserRequest) returns (GetUserResponse);", ""),
    "a stream less": ("rpc Chat(stream ChatStream)", "rpc Chat(ChatStream)"),
    "another package": ("package chat;", "package talk;"),
}


@pytest.mark.parametrize(("old", "new"), BREAKS.values(), ids=BREAKS.keys())
async def test_breaking_change_is_noticed(tmp_path: Path, old: str, new: str) -> None:
    assert old in SCHEMA
    result = await compare(SCHEMA.replace(old, new, 1), tmp_path)
    assert result.status == 100, result
    assert "chat.proto" in result.output
