"""A server with keys, a proxy that it knows, and both their doors."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

import chat
import proxy
from tests.access.doors import DOORS, Doors, opened
from tests.access.signing import Signer, eddsa, jwks


@pytest.fixture
def signer() -> Signer:
    """Signs the tokens that the server believes."""
    return eddsa()


@pytest.fixture
def keys(tmp_path: Path, signer: Signer) -> Path:
    """The file with the signer's key."""
    path = tmp_path / "keys.jwks"
    path.write_text(jwks(signer.named("one")))
    return path


@pytest.fixture
def guarded_config(chat_config: chat.Config, keys: Path) -> chat.Config:
    """Settings of a server that requires tokens."""
    return replace(chat_config, trust=chat.Trust(token_keys=str(keys)))


@pytest.fixture
def trusted_config(tmp_path: Path, signer: Signer) -> proxy.Config:
    """Settings of a proxy that the server knows."""
    path = tmp_path / "proxy.token"
    path.write_text(signer.token(kid="one", sub="edge", role="proxy", rooms=None) + "\n")
    return proxy.Config(host="127.0.0.1", port=0, upstream_token_file=str(path))


@pytest.fixture
async def doors(guarded_config: chat.Config, trusted_config: proxy.Config) -> AsyncIterator[Doors]:
    async with opened(guarded_config, trusted_config) as doors:
        yield doors


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    """Each door in turn."""
    name: str = request.param
    return name


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
