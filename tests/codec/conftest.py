"""The two schemas that the codec is tested on."""

import pytest

from tests.codec.oracle import Schema, chat_schema, kitchen_schema


@pytest.fixture(scope="session")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    """The schema of kitchen.proto."""
    return kitchen_schema(tmp_path_factory.mktemp("generated"))


@pytest.fixture(scope="session", name="chat_schema")
def _chat_schema() -> Schema:
    """The chat's schema."""
    return chat_schema()


@pytest.fixture(scope="session", params=["chat_schema", "kitchen"])
def schema(request: pytest.FixtureRequest) -> Schema:
    """Each of the two schemas."""
    found: Schema = request.getfixturevalue(request.param)
    return found
