"""Claims with odd texts or times: refused or bounded before they are used."""

import asyncio
import math
import time
from contextlib import closing
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

import chat
import codec
import proxy
from chat.access.identity import Identity
from chat.api.context import authenticated_message
from chat.errors import Unauthenticated
from gen.chat import Authenticated, ChatMessage, GetUserRequest, Join
from hosting.addresses import split_address
from tests.access.doors import Doors, opened
from tests.access.signing import SECRET, Signer, bearer, forged, hs256, verifier
from tests.kit.web import RawWebSocket
from tests.proxy.web_client import Client
from tests.support import SHARING

HOUR = 3600
NO_NUMBERS = ["0", "4102444800", True, False, [], [4102444800], {}, math.nan]
LONG_AGO = [0, -1, -(2**70), -1e300, -math.inf, 0.5]
FAR_AHEAD = [2**63, 1e300, 10**400, math.inf]
END_OF_TIME = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def claims(**changed: Any) -> dict[str, Any]:
    rooms = {"read": ["*"], "write": ["*"]}
    return {"sub": "ada", "exp": int(time.time()) + HOUR, "rooms": rooms, **changed}


@pytest.fixture
def signer() -> Signer:
    """A secret, as any claims can be signed with it."""
    return hs256()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    return path


@pytest.fixture
def trusted_config(tmp_path: Path) -> proxy.Config:
    path = tmp_path / "proxy.token"
    path.write_text(forged(claims(sub="edge", role="proxy")))
    return proxy.Config(host="127.0.0.1", port=0, upstream_token_file=str(path))


def comes_back(identity: Identity) -> Authenticated:
    """The `authenticated` answer as the client receives it."""
    return codec.decode(Authenticated, codec.encode(authenticated_message(identity)))


class TestTimes:
    """``exp`` and ``nbf`` (RFC 7519, section 2, NumericDate)."""

    @pytest.mark.parametrize("leeway", [0.0, 10.0, 1e300])
    @pytest.mark.parametrize(
        "exp",
        [253_402_300_799, 253_402_300_800, 2**63, 2**64, 10**400, 1e300, 1e11 + 0.5, math.inf],
    )
    def test_exp_may_be_very_late(self, keys: Path, exp: float, leeway: float) -> None:
        identity = verifier(keys, leeway_seconds=leeway).verify(forged(claims(exp=exp)))
        identity.check_time(time.time())
        assert comes_back(identity).expires_at <= END_OF_TIME

    @pytest.mark.parametrize(
        ("claim", "value", "told"),
        [
            *(("exp", each, "the token's exp must be a number") for each in NO_NUMBERS),
            *(("nbf", each, "the token's nbf must be a number") for each in NO_NUMBERS),
            *(("exp", each, "the token has expired") for each in LONG_AGO),
            *(("nbf", each, "the token is not valid yet") for each in FAR_AHEAD),
        ],
    )
    def test_wrong_time_is_refused(self, keys: Path, claim: str, value: object, told: str) -> None:
        with pytest.raises(Unauthenticated, match=f"^{told}$"):
            verifier(keys).verify(forged(claims(**{claim: value})))

    def test_exp_may_have_a_fraction(self, keys: Path) -> None:
        end = int(time.time()) + HOUR + 0.25
        assert verifier(keys, leeway_seconds=0.0).verify(forged(claims(exp=end))).expires_at == end

    @pytest.mark.parametrize("nbf", [None, 0, -(2**70), -1e300, -math.inf])
    def test_nbf_in_the_past_is_accepted(self, keys: Path, nbf: float | None) -> None:
        assert verifier(keys).verify(forged(claims(nbf=nbf))).subject == "ada"

    @SHARING
    @given(
        claim=st.sampled_from(["exp", "nbf", "iat"]),
        value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([]),
        leeway=st.floats(0, 1.7e308),
    )
    def test_any_times_are_refused_or_bounded(
        self, keys: Path, claim: str, value: object, leeway: float
    ) -> None:
        try:
            identity = verifier(keys, leeway_seconds=leeway).verify(
                forged(claims(**{claim: value}))
            )
        except Unauthenticated:
            return
        assert comes_back(identity).expires_at <= END_OF_TIME


class TestText:
    """Claims that are no Unicode text are refused."""

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"sub": "emoji\ud83d"}, "the token's sub: must be Unicode text, without surrogates"),
            ({"sub": "\udc80"}, "the token's sub: must be Unicode text, without surrogates"),
            ({"rooms": {"read": ["a", "\ud83d*"]}}, "the token's rooms.read must be Unicode text"),
            ({"rooms": {"write": ["\udc80"]}}, "the token's rooms.write must be Unicode text"),
        ],
    )
    def test_surrogates_are_refused(self, keys: Path, changed: dict[str, Any], told: str) -> None:
        with pytest.raises(Unauthenticated, match=told):
            verifier(keys).verify(forged(claims(**changed)))

    @pytest.mark.parametrize("tail", ["\n", "é", "\ud83d", "=", " ", "\0", "."])
    def test_signature_has_no_tail(self, keys: Path, tail: str) -> None:
        """Base64 decoders skip foreign characters, but the token is passed on unchanged."""
        with pytest.raises(Unauthenticated, match=r"^the token is not valid$"):
            verifier(keys).verify(forged(claims()) + tail)

    @SHARING
    @given(name=st.text(st.characters(exclude_categories=[])), where=st.sampled_from("hnia"))
    def test_any_text_is_refused_or_kept(self, keys: Path, name: str, where: str) -> None:
        header = {"alg": "HS256", **({"kid": name} if where == "h" else {})}
        changes: dict[str, dict[str, Any]] = {
            "h": {},
            "n": {"sub": name},
            "i": {"iss": name},
            "a": {"rooms": {"read": [name]}},
        }
        changed = changes[where]
        try:
            identity = verifier(keys).verify(forged(claims(**changed), header))
        except Unauthenticated as error:
            str(error).encode()
            return
        told = comes_back(identity)
        assert told.user_id == identity.subject == changed.get("sub", "ada")


STRANGE = ["emoji\ud83d", "\udc80\udcff"]


@pytest.mark.parametrize("subject", STRANGE)
async def test_odd_token_disturbs_no_others(doors: Doors, door: str, subject: str) -> None:
    """Even while it is tried repeatedly and others send."""
    async with doors.visit(door, forged(claims())) as ada:
        await ada.ask(Join("lobby"))
        with capture_logs() as lines:
            for number in range(1, 6):
                async with doors.visit(door, forged(claims(sub=subject))) as stranger:
                    assert await stranger.dismissed() == "UNAUTHENTICATED"
                sent = await ada.ask(ChatMessage(id=str(number), room_id="lobby", content="x"))
                assert sent.seq == number
        assert {line["log_level"] for line in lines} <= {"debug", "info"}


async def test_endless_token_opens_both_doors(doors: Doors, door: str) -> None:
    for exp in (253_402_300_799, 2**63, 1e300):
        async with doors.visit(door, forged(claims(exp=exp))) as ada:
            assert (await ada.ask(ChatMessage(room_id="lobby", content="x"))).sender_id == "ada"
            assert (await ada.ask(GetUserRequest("ada"))).user.id == "ada"


async def test_offered_bytes_are_no_token(doors: Doors) -> None:
    """They arrive as surrogates; the close code tells the client not to retry with them."""
    host, port = split_address(urlsplit(doors.url).netloc)
    offers = {"Authorization": b"Bearer ", "Sec_WebSocket_Protocol": b"chat, bearer."}
    tokens = [b"\xff\xfe", "é.a.b".encode(), b"a b", b"a.b.c\xff"]
    with capture_logs() as lines:
        for (name, before), token in product(offers.items(), tokens):
            value = (before + token).decode("latin-1")
            with closing(await RawWebSocket.open(host, port, **{name: value})) as client:
                assert (await client.read_to_close())[-1].close_code == 4501, value
    assert {line["log_level"] for line in lines} <= {"debug", "info"}


async def test_renewed_token_is_checked(doors: Doors, session: aiohttp.ClientSession) -> None:
    ada = Client(await session.ws_connect(doors.url, headers=bearer(forged(claims()))))
    for token in ("é", "a b", "\x00", forged(claims(sub="\ud83d")), forged(claims()) + "é"):
        answer = await ada.ask(authenticate={"token": token})
        assert answer["error"]["code"] == "UNAUTHENTICATED"
    answer = await ada.ask(authenticate={"token": forged(claims(exp=2**63))})
    assert answer["authenticated"]["expires_at"].startswith("9999-")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"not a token", b"a\nb", "é".encode()])
async def test_token_file_is_waited_for(
    guarded_config: chat.Config, trusted_config: proxy.Config, content: bytes
) -> None:
    """One line names the problem; a good file is taken as soon as it is there."""
    path = Path(trusted_config.upstream_token_file)
    good = await asyncio.to_thread(path.read_bytes)
    await asyncio.to_thread(path.write_bytes, content)
    with capture_logs() as lines:
        async with opened(guarded_config, trusted_config) as doors:
            await asyncio.to_thread(path.write_bytes, good)
            async with doors.visit("websocket", forged(claims())) as ada:
                assert (await ada.ask(ChatMessage(room_id="lobby", content="x"))).seq == 1
    assert not [line for line in lines if "exc_info" in line]
