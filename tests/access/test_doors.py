"""Permissions and tokens: the same at the gRPC door and at the WebSocket door."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from grpclib import GRPCError, Status
from grpclib.client import Channel

import chat
import proxy
from gen.chat import (
    Authenticate,
    ChatMessage,
    ChatServiceStub,
    GetChatHistoryRequest,
    GetUserRequest,
    Join,
    ListUsersRequest,
    RelayServiceStub,
    UpsertUserRequest,
    User,
    UserStatus,
)
from tests.access.doors import Doors, Visitor, refused
from tests.access.signing import Signer, bearer, confused, eddsa, jwks
from tests.chat.access.test_odd_keys import NO_ANSWER, NO_KEYS
from tests.support import SMALL_WINDOWS, ChatCall, RelayCall, channel_to, eventually

LOBBY_ONLY = {"read": ["lobby", "team-*"], "write": ["lobby"]}


def said(room_id: str, sender_id: str = "") -> ChatMessage:
    return ChatMessage(room_id=room_id, sender_id=sender_id, content="hello")


def stub_of(channel: Channel, token: str) -> ChatServiceStub:
    return ChatServiceStub(channel, metadata=bearer(token))


class TestTokens:
    """Which tokens are accepted."""

    async def test_valid_token_is_let_in(self, doors: Doors, door: str, signer: Signer) -> None:
        async with doors.visit(door, signer.token(kid="one")) as ada:
            assert (await ada.ask(said("lobby"))).sender_id == "ada"
            assert (await ada.ask(Join("lobby"))).last_seq == 1

    async def test_invalid_token_is_dismissed(
        self, doors: Doors, door: str, signer: Signer
    ) -> None:
        now = int(time.time())
        invalid = {
            "none": None,
            "empty": "",
            "garbage": "garbage",
            "expired": signer.token(exp=now - 60),
            "of another key": eddsa().token(kid="one"),
            "for tomorrow": signer.token(nbf=now + 86_400, exp=now + 90_000),
            "without a signature": signer.token().rpartition(".")[0] + ".",
            "without an end": signer.token(exp=None),
            "for an audience": signer.token(aud="shop"),
            "signed with the public key in PEM": confused(signer, signer.pem),
            "signed with the set of keys": confused(signer, jwks(signer.named("one")).encode()),
        }
        for name, token in invalid.items():
            async with doors.visit(door, token) as visitor:
                assert await visitor.dismissed() == "UNAUTHENTICATED", name

    async def test_call_needs_a_token(self, doors: Doors) -> None:
        told = ("UNAUTHENTICATED", "a token is required")
        async with doors.visit("grpc", None) as visitor:
            for request in (
                GetUserRequest("ada"),
                GetChatHistoryRequest("lobby"),
                ListUsersRequest(),
                UpsertUserRequest("ada", "Ada"),
            ):
                assert await refused(visitor.ask(request)) == told, request


class TestIssuers:
    """A server that trusts one issuer, and tokens for its audience."""

    @pytest.fixture
    def guarded_config(self, chat_config: chat.Config, keys: Path) -> chat.Config:
        rules = chat.TokenRules(issuer="me", audience="chat")
        return replace(chat_config, trust=chat.Trust(token_keys=str(keys), tokens=rules))

    @pytest.fixture
    def trusted_config(self, trusted_config: proxy.Config, signer: Signer) -> proxy.Config:
        token = signer.token(sub="edge", role="proxy", iss="me", aud="chat")
        Path(trusted_config.upstream_token_file).write_text(token)
        return trusted_config

    async def test_issued_token_is_let_in_alone(
        self, doors: Doors, door: str, signer: Signer
    ) -> None:
        async with doors.visit(door, signer.token(iss="me", aud=["shop", "chat"])) as ada:
            assert (await ada.ask(said("lobby"))).sender_id == "ada"
        for claims in (
            {"aud": "chat"},
            {"iss": "you", "aud": "chat"},
            {"iss": "me"},
            {"iss": "me", "aud": "shop"},
        ):
            async with doors.visit(door, signer.token(**claims)) as visitor:
                assert await visitor.dismissed() == "UNAUTHENTICATED", claims


class TestNames:
    """The sender is the token's subject."""

    async def test_sender_is_the_subject(self, doors: Doors, door: str, signer: Signer) -> None:
        async with doors.visit(door, signer.token()) as ada:
            code, text = await refused(ada.ask(said("lobby", "bob")))
            assert (code, text.partition(":")[0]) == ("PERMISSION_DENIED", "chat_message.sender_id")
            assert (await ada.ask(said("lobby", "ada"))).seq == 1

    async def test_user_is_written_by_its_owner(
        self, doors: Doors, door: str, signer: Signer
    ) -> None:
        async with doors.visit(door, signer.token()) as ada:
            saved = (await ada.ask(UpsertUserRequest("ada", "Ada", "ada@example.org"))).user
            assert saved.email == "ada@example.org"
            code, text = await refused(ada.ask(UpsertUserRequest("bob", "Bob")))
            assert code == "PERMISSION_DENIED"
            assert "user_id: " in text

    async def test_email_visible_to_owner_and_admin(
        self, doors: Doors, door: str, signer: Signer
    ) -> None:
        async with doors.visit(door, signer.token()) as ada:
            await ada.ask(UpsertUserRequest("ada", "Ada", "ada@example.org"))
            assert await addresses(ada) == ["ada@example.org"] * 2
        async with doors.visit(door, signer.token(sub="bob")) as bob:
            assert await addresses(bob) == ["", ""]
        async with doors.visit(door, signer.token(sub="root", role="admin")) as root:
            assert await addresses(root) == ["ada@example.org"] * 2
            assert (await root.ask(UpsertUserRequest("ada", "Countess"))).user.name == "Countess"


async def addresses(visitor: Visitor) -> list[str]:
    """The e-mail address of ada, as each call shows it."""
    user: User = (await visitor.ask(GetUserRequest("ada"))).user
    users: list[User] = (await visitor.ask(ListUsersRequest())).users
    return [user.email, *(each.email for each in users if each.id == "ada")]


class TestRooms:
    """Rooms that a token opens for reading and writing."""

    @pytest.fixture
    def token(self, signer: Signer) -> str:
        """A token for few rooms."""
        return signer.token(rooms=LOBBY_ONLY)

    async def test_allowed_rooms_are_open(self, doors: Doors, door: str, token: str) -> None:
        async with doors.visit(door, token) as ada:
            assert (await ada.ask(said("lobby"))).seq == 1
            assert (await ada.ask(Join("team-red"))).last_seq == 0
            assert len((await ada.ask(GetChatHistoryRequest("lobby"))).messages) == 1

    async def test_other_rooms_are_closed(self, doors: Doors, door: str, token: str) -> None:
        requests = [said("team-red"), said("vault"), Join("vault"), GetChatHistoryRequest("vault")]
        async with doors.visit(door, token) as ada:
            for request in requests:
                code, text = await refused(ada.ask(request))
                assert code == "PERMISSION_DENIED"
                assert "room_id: the token does not allow" in text

    async def test_frame_error_names_the_whole_path(self, doors: Doors, token: str) -> None:
        async with doors.visit("websocket", token) as ada:
            for request, path in (
                (Join("vault"), "join.room_id"),
                (GetChatHistoryRequest("vault"), "get_chat_history.room_id"),
                (UpsertUserRequest("bob", "Bob"), "upsert_user.user_id"),
            ):
                code, text = await refused(ada.ask(request))
                assert (code, text.partition(":")[0]) == ("PERMISSION_DENIED", path)

    async def test_write_only_sender_hears_nothing(
        self, doors: Doors, door: str, signer: Signer
    ) -> None:
        async with (
            doors.visit(door, signer.token(rooms={"write": ["box"]})) as ada,
            doors.visit(door, signer.token(sub="bob", rooms={"read": ["box"], "write": ["box"]}))
            as bob,
        ):  # fmt: skip
            await bob.ask(Join("box"))
            assert (await ada.ask(said("box"))).seq == 1
            assert (await bob.hear()).seq == 1
            assert (await bob.ask(said("box"))).seq == 2
            # Had it been in the room, it would have heard of the second before this.
            assert (await ada.ask(said("box"))).seq == 3


@asynccontextmanager
async def slow_reader(
    config: chat.Config, signer: Signer, end: float
) -> AsyncIterator[tuple[ChatCall, ChatCall, ChatServiceStub]]:
    """A call of ada, a call of bob that soon stalls and whose token expires, and ada's stub."""
    async with (
        chat.serve(replace(config, rates=chat.Rates())) as server,
        channel_to(server, SMALL_WINDOWS) as slow,
        channel_to(server) as fast,
        ChatCall(stub_of(slow, signer.token(sub="bob", exp=int(end)))) as bob,
    ):
        stub = stub_of(fast, signer.token())
        async with ChatCall(stub) as ada:
            yield ada, bob, stub


class TestTime:
    """Tokens expire, and are renewed."""

    @pytest.fixture
    def guarded_config(self, chat_config: chat.Config, keys: Path) -> chat.Config:
        """No leeway, so that a token expires exactly at `exp`."""
        rules = chat.TokenRules(leeway_seconds=0)
        return replace(chat_config, trust=chat.Trust(token_keys=str(keys), tokens=rules))

    async def test_slow_reader_hears_nothing_after_expiry(
        self, guarded_config: chat.Config, signer: Signer
    ) -> None:
        end = int(time.time()) + 4
        long = ChatMessage(room_id="vault", content="x" * 12_000)
        heard: list[float] = []
        async with slow_reader(guarded_config, signer, end) as (ada, bob, _):
            await bob.enter("vault")
            for _ in range(12):  # he never comes to the end of what waits for him
                await ada.post(long)

            async def go_on() -> None:
                while True:
                    await ada.post(long)
                    heard.append((await bob.hear()).sent_at.timestamp())

            with pytest.raises(GRPCError) as raised:
                await go_on()
        assert raised.value.status is Status.UNAUTHENTICATED
        assert heard[-1] < end + 1

    async def test_expiry_cuts_off_stalled_reader(
        self, guarded_config: chat.Config, signer: Signer
    ) -> None:
        async with slow_reader(guarded_config, signer, time.time() + 4) as (ada, bob, stub):
            await bob.post(said("vault"))
            await ada.enter("vault")
            for _ in range(12):
                await ada.post(ChatMessage(room_id="vault", content="x" * 12_000))

            async def gone() -> bool:
                answer = await stub.get_user(GetUserRequest("bob"))
                return answer.user.status is UserStatus.INACTIVE

            await eventually(gone)
            assert (await bob.rest())[1] is Status.UNAUTHENTICATED

    async def test_fresh_token_keeps_the_connection(
        self, doors: Doors, door: str, signer: Signer
    ) -> None:
        end = int(time.time()) + 4
        async with (
            doors.visit(door, signer.token(exp=end)) as ada,
            doors.visit(door, signer.token(exp=end, sub="bob")) as bob,
        ):
            for visitor in (ada, bob):
                await visitor.ask(Join("lobby"))
            answer = await ada.ask(Authenticate(signer.token(exp=end + 2)))
            assert answer.user_id == "ada"
            assert answer.expires_at.timestamp() == end + 2
            assert await bob.dismissed() == "UNAUTHENTICATED"
            assert await ada.dismissed() == "UNAUTHENTICATED"
            assert time.time() >= end + 2

    async def test_renewed_token_needs_same_user(
        self, doors: Doors, door: str, signer: Signer
    ) -> None:
        async with doors.visit(door, signer.token()) as ada:
            code, text = await refused(ada.ask(Authenticate(signer.token(sub="bob"))))
            assert (code, text.partition(":")[0]) == ("PERMISSION_DENIED", "authenticate.token")
            assert (await refused(ada.ask(Authenticate("garbage"))))[0] == "UNAUTHENTICATED"
            assert (await ada.ask(said("lobby"))).sender_id == "ada"

    async def test_fresh_token_leaves_closed_rooms(
        self, doors: Doors, door: str, signer: Signer
    ) -> None:
        async with doors.visit(door, signer.token()) as ada:
            for room in ("lobby", "vault"):
                await ada.ask(Join(room))
            await ada.ask(Authenticate(signer.token(rooms=LOBBY_ONLY)))
            assert (await refused(ada.ask(said("vault"))))[0] == "PERMISSION_DENIED"
            async with doors.visit(door, signer.token(sub="bob")) as bob:
                await bob.ask(said("vault"))
                await bob.ask(said("lobby"))
            assert (await ada.hear()).room_id == "lobby"


class TestProxy:
    """Only proxies may speak for others."""

    async def test_relay_is_for_proxies(self, guarded_config: chat.Config, signer: Signer) -> None:
        async with chat.serve(guarded_config) as server, channel_to(server) as channel:
            for token in (None, signer.token(), signer.token(role="admin")):
                stub = RelayServiceStub(channel, metadata=bearer(token))
                async with RelayCall(stub) as relay:
                    _, status = await relay.rest()
                expected = Status.PERMISSION_DENIED if token else Status.UNAUTHENTICATED
                assert status is expected


async def test_keys_follow_their_file(
    doors: Doors, door: str, signer: Signer, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new key is taken without a restart; streams of a removed key end."""
    monkeypatch.setattr("chat.access.keyfile._LOOK_AGAIN_SECONDS", 0)
    leaked = eddsa()
    async with doors.visit(door, leaked.token(kid="two")) as thief:
        assert await thief.dismissed() == "UNAUTHENTICATED"
    both = jwks(signer.named("one"), leaked.named("two"))
    await asyncio.to_thread(keys.write_text, both)
    async with (
        doors.visit(door, leaked.token(kid="two")) as thief,
        doors.visit(door, signer.token(sub="bob", kid="one")) as bob,
    ):
        assert (await thief.ask(said("lobby"))).sender_id == "ada"
        assert (await bob.ask(said("lobby"))).seq == 2
        await asyncio.to_thread(keys.write_text, jwks(signer.named("one")))
        assert await thief.dismissed() == "UNAUTHENTICATED"
        # He is still there.
        assert (await bob.ask(said("lobby"))).seq == 3
    async with doors.visit(door, leaked.token(kid="two")) as thief:
        assert await thief.dismissed() == "UNAUTHENTICATED"


async def test_key_removal_survives_file_trouble(
    doors: Doors, door: str, keys: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's watcher survives any state of the file."""
    monkeypatch.setattr("chat.access.keyfile._LOOK_AGAIN_SECONDS", 0)
    monkeypatch.setattr("chat.server._LOOK_AT_KEYS_SECONDS", 0.01)
    leaked = eddsa()
    own = signer.named("one")
    await asyncio.to_thread(keys.write_text, jwks(own, leaked.named("two")))
    async with doors.visit(door, leaked.token(kid="two")) as ada:
        await ada.ask(Join("lobby"))
        for trouble in ("half", "deep", "another answer", "gone"):
            await asyncio.to_thread(NO_ANSWER[trouble], keys)
            # Long enough to be read.
            for number in range(5):
                sent = ChatMessage(id=f"{trouble}{number}", room_id="lobby", content="x")
                await ada.ask(sent)
        following = keys.with_name("following")
        text = jwks({**leaked.jwk, "crv": []}, own)
        await asyncio.to_thread(following.write_text, text)
        await asyncio.to_thread(following.replace, keys)
        assert await ada.dismissed() == "UNAUTHENTICATED"


@pytest.mark.parametrize("nothing", NO_KEYS.values(), ids=NO_KEYS.keys())
async def test_set_without_keys_ends_streams(
    doors: Doors, keys: Path, signer: Signer, nothing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.access.keyfile._LOOK_AGAIN_SECONDS", 0)
    monkeypatch.setattr("chat.server._LOOK_AT_KEYS_SECONDS", 0.01)
    async with doors.visit("grpc", signer.token(kid="one")) as ada:
        await ada.ask(Join("lobby"))
        await asyncio.to_thread(keys.write_text, nothing)
        assert await ada.dismissed() == "UNAUTHENTICATED"
