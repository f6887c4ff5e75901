"""TLS at both doors and between them, with certificates made on the spot."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.exceptions import StreamTerminatedError
from structlog.testing import capture_logs

import chat
import codec
import proxy
from gen.chat import ChatServiceStub, GetChatHistoryRequest
from hosting.tls import Tls, TlsFiles, UnusableCertificate
from tests.access.certificates import Authority
from tests.access.signing import Signer, bearer
from tests.kit.processes import run
from tests.proxy.web_client import visitor
from tests.support import PATIENCE_SECONDS, eventually

HISTORY = GetChatHistoryRequest("lobby")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secure_config(chat_config: chat.Config, authority: Authority) -> chat.Config:
    """A server with a certificate that requires none of clients."""
    return replace(chat_config, trust=chat.Trust(tls=authority.files("server")))


async def history(server: chat.RunningServer, tls: ssl.SSLContext | None, **metadata: str) -> None:
    """Makes a call on a connection of its own."""
    async with Channel(server.host, server.port, codec=codec.GrpcCodec(), ssl=tls) as channel:
        await ChatServiceStub(channel, metadata=metadata).get_chat_history(
            HISTORY, timeout=PATIENCE_SECONDS
        )


class TestServer:
    """The gRPC door."""

    async def test_server_encrypts(self, secure_config: chat.Config, authority: Authority) -> None:
        async with chat.serve(secure_config) as server:
            await history(server, authority.believing())

    async def test_plain_text_is_refused(self, secure_config: chat.Config) -> None:
        async with chat.serve(secure_config) as server:
            with pytest.raises((StreamTerminatedError, OSError, AttributeError)):
                await history(server, None)

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
    async def test_tls_1_2_is_the_oldest(
        self, secure_config: chat.Config, authority: Authority
    ) -> None:
        contexts = [ssl.create_default_context(cafile=authority.root) for _ in range(2)]
        for context, version in zip(contexts, ("TLSv1_2", "TLSv1_1"), strict=True):
            context.set_alpn_protocols(["h2"])
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        async with chat.serve(secure_config) as server:
            await history(server, contexts[0])
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await history(server, contexts[1])

    async def test_uncertified_client_is_refused(
        self, chat_config: chat.Config, authority: Authority, tmp_path: Path
    ) -> None:
        trust = chat.Trust(tls=authority.files("server", believes=True))
        stranger = Authority(tmp_path / "other").files("edge")
        context = Tls.client(replace(stranger, authorities=authority.root)).for_http2().context
        async with chat.serve(replace(chat_config, trust=trust)) as server:
            await history(server, authority.shown("edge"))
            for refused in (authority.believing(), context):
                with pytest.raises((ssl.SSLError, OSError, StreamTerminatedError)):
                    await history(server, refused)

    async def test_silent_handshake_is_dropped(
        self, secure_config: chat.Config, authority: Authority
    ) -> None:
        limits = chat.ConnectionLimits(handshake_seconds=0.2)
        async with (
            chat.serve(replace(secure_config, connection_limits=limits)) as server,
            proxy.serve(
                proxy.Config(
                    host="127.0.0.1", port=0, tls=authority.files("front"), handshake_seconds=0.2
                )
            ) as running,
        ):
            for port in (server.port, running.port):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                async with asyncio.timeout(PATIENCE_SECONDS):
                    assert await reader.read() == b""
                writer.close()

    async def test_replaced_certificate_is_taken(
        self, secure_config: chat.Config, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hosting.tls._LOOK_AGAIN_SECONDS", 0.01)
        context = authority.believing()
        async with chat.serve(secure_config) as server:
            first = await shown(server.port, context)
            assert await shown(server.port, context) == first
            await asyncio.to_thread(authority.files, "server")

            async def replaced() -> bool:
                return await shown(server.port, context) != first

            await eventually(replaced)


async def shown(port: int, context: ssl.SSLContext) -> bytes | None:
    """The certificate that a server shows."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
    found = connection.getpeercert(binary_form=True)
    writer.close()
    return found


async def readiness(config: proxy.Config) -> int:
    """The status of a proxy's readiness."""
    async with (
        proxy.serve(config) as running,
        aiohttp.ClientSession() as session,
        session.get(f"{running.url}readyz") as response,
    ):
        return response.status


class TestProxy:
    """The WebSocket door, and the link to the server."""

    @pytest.fixture
    def trust(self, authority: Authority, keys: Path) -> chat.Trust:
        tls = authority.files("server", believes=True)
        return chat.Trust(token_keys=str(keys), proxy_names=frozenset({"edge"}), tls=tls)

    @pytest.fixture
    async def server(
        self, chat_config: chat.Config, trust: chat.Trust
    ) -> AsyncIterator[chat.RunningServer]:
        """A server that knows users by tokens, and the proxy "edge" by its certificate."""
        async with chat.serve(replace(chat_config, trust=trust)) as server:
            yield server

    async def test_proxy_uses_tls_on_both_sides(
        self, server: chat.RunningServer, authority: Authority, signer: Signer
    ) -> None:
        config = proxy.Config(
            host="127.0.0.1", port=0, upstream=server.address,
            upstream_tls=authority.files("edge", believes=True), tls=authority.files("front"),
        )  # fmt: skip
        context = Tls.client(TlsFiles(authorities=authority.root)).context
        async with (
            proxy.serve(config) as running,
            visitor(running.url, headers=bearer(signer.token()), ssl=context) as client,
        ):
            assert running.url.startswith("https://")
            await client.send(chat_message={"room_id": "lobby", "content": "x" * 16_000})
            assert (await client.receive())["chat_message"]["sender_id"] == "ada"
            # Much of it is on the way when the proxy has read how large it is.
            await client.send_text(b" " * (1 << 20))
            assert await client.closed() == 1009

    async def test_guest_cannot_use_the_certificate(
        self,
        chat_config: chat.Config,
        authority: Authority,
        trust: chat.Trust,
        unused_tcp_port: int,
    ) -> None:
        """The guest was there before the first link, and its calls use the proxy's connection."""
        config = proxy.Config(
            host="127.0.0.1", port=0, upstream=f"127.0.0.1:{unused_tcp_port}",
            upstream_tls=authority.files("edge", believes=True),
        )  # fmt: skip
        async with (
            proxy.serve(config) as running,
            visitor(running.url) as idle,
            visitor(running.url) as waiting,
        ):
            await waiting.send(list_users={})
            async with chat.serve(replace(chat_config, port=unused_tcp_port, trust=trust)):
                for client in (idle, waiting):
                    assert await client.take_until_closed() == []
                    assert client.close_code == 4501

    async def test_certificate_alone_makes_no_call(
        self, server: chat.RunningServer, authority: Authority
    ) -> None:
        """Neither a call of the proxy without a user, nor one of another name."""
        for name in ("edge", "another"):
            with pytest.raises(GRPCError) as raised:
                await history(server, authority.shown(name))
            assert raised.value.status is Status.UNAUTHENTICATED, name

    async def test_uncertified_proxy_gets_no_link(
        self, server: chat.RunningServer, authority: Authority
    ) -> None:
        config = proxy.Config(host="127.0.0.1", port=0, upstream=server.address)
        without = TlsFiles(authorities=authority.root)
        for files in (authority.files("another", believes=True), without):
            assert await readiness(replace(config, upstream_tls=files)) == 503

    async def test_uncertified_server_gets_no_token(
        self, chat_config: chat.Config, authority: Authority, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        other = Authority(tmp_path / "other")
        # A named authority replaces those of the system.
        monkeypatch.setenv("SSL_CERT_FILE", other.root)
        impostor = other.files("server")
        token = tmp_path / "token"
        await asyncio.to_thread(token.write_text, "secret")
        async with chat.serve(replace(chat_config, trust=chat.Trust(tls=impostor))) as server:
            config = proxy.Config(
                host="127.0.0.1", port=0, upstream=server.address, upstream_token_file=str(token),
                upstream_tls=TlsFiles(authorities=authority.root),
            )  # fmt: skip
            assert await readiness(config) == 503


class TestFiles:
    """Files that cannot be used."""

    @pytest.mark.parametrize("given", [("cert", ""), ("", "key")])
    def test_certificate_needs_its_key(self, given: tuple[str, str]) -> None:
        with pytest.raises(ValueError, match="must be given together"):
            TlsFiles(*given)

    def test_unusable_file_is_named(self, authority: Authority, tmp_path: Path) -> None:
        files = authority.files("server")
        damaged = tmp_path / "damaged.pem"
        damaged.write_text("nothing")
        for wrong in (
            replace(files, certificate=str(tmp_path / "missing.pem")),
            replace(files, key=str(damaged)),
            replace(files, key=authority.files("another").key),
            replace(files, authorities=str(damaged)),
        ):
            with pytest.raises(UnusableCertificate, match="cannot use the certificate ") as raised:
                Tls.server(wrong)
            assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("damaged", ["certificate", "key", "authorities"])
    def test_damaged_replacement_changes_nothing(self, authority: Authority, damaged: str) -> None:
        files = authority.files("server", believes=True)
        tls, client = Tls.server(files), authority.shown("edge")
        first = handshake(tls, client)
        path = Path(getattr(files, damaged))
        whole = path.read_bytes()
        path.write_text("half written")
        tls.refresh()
        assert handshake(tls, client) == first
        path.write_bytes(whole)
        authority.files("server")
        tls.refresh()
        assert handshake(tls, client) != first

    def test_tls_trouble_is_logged_once(self, authority: Authority) -> None:
        files = authority.files("server")
        tls = Tls.server(files)
        certificate, key = Path(files.certificate), Path(files.key)
        good = certificate.read_bytes()
        troubles: list[Callable[[], object]] = [
            certificate.unlink,
            certificate.mkdir,
            certificate.rmdir,
            lambda: certificate.write_text("damaged"),
            lambda: certificate.write_text("damaged again"),
        ]
        before = tls.context.current
        with capture_logs() as lines:
            for number, trouble in enumerate(troubles, 1):
                trouble()
                for _ in range(3):
                    tls.refresh()
                assert len(lines) == number
        assert tls.context.current is before
        certificate.write_bytes(good)
        # As if no more files could be opened.
        key.rename(key.with_suffix(".away"))
        tls.refresh()
        key.with_suffix(".away").rename(key)
        tls.refresh()
        assert tls.context.current is not before

    def test_certificate_waits_for_its_key(self, authority: Authority) -> None:
        files = authority.files("server")
        tls, client = Tls.server(files), authority.believing()
        first, old_key = handshake(tls, client), Path(files.key).read_bytes()
        authority.files("server")
        new_key = Path(files.key).read_bytes()
        Path(files.key).write_bytes(old_key)
        tls.refresh()
        assert handshake(tls, client) == first
        Path(files.key).write_bytes(new_key)
        tls.refresh()
        assert handshake(tls, client) != first

    def test_replaced_authority_is_not_trusted(self, tmp_path: Path) -> None:
        authorities = one, two = [Authority(tmp_path / name) for name in ("one", "two")]
        believed = tmp_path / "believed.pem"
        believed.write_bytes(Path(one.root).read_bytes())
        server = Tls.server(replace(one.files("server"), authorities=str(believed)))
        clients = [
            Tls.client(replace(each.files("edge"), authorities=one.root)).context
            for each in authorities
        ]
        handshake(server, clients[0])
        with pytest.raises(ssl.SSLError):
            handshake(server, clients[1])
        believed.write_bytes(Path(two.root).read_bytes())
        server.refresh()
        with pytest.raises(ssl.SSLError):
            handshake(server, clients[0])
        handshake(server, clients[1])

    def test_system_authorities_are_the_default(
        self, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", authority.root)
        handshake(Tls.server(authority.files("localhost")), Tls.client(TlsFiles()).context)


def handshake(server: Tls, client: ssl.SSLContext) -> bytes | None:
    """Shakes hands; returns the server's certificate.

    Raises:
        ssl.SSLError: one side does not trust the other.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.context.wrap_bio(to_server, to_client, server_side=True),
    ]
    for side in sides * 4:
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert all(side.version() for side in sides)
    return sides[0].getpeercert(binary_form=True)


class TestHealth:
    """``python -m hosting.health`` over TLS."""

    async def test_health_check_over_tls(
        self, chat_config: chat.Config, authority: Authority
    ) -> None:
        tls = authority.files("server", believes=True)
        shown = authority.files("edge", believes=True)
        options = ("--ca", authority.root, "--timeout", "20")
        certified = ("--certificate", shown.certificate, "--key", shown.key)
        async with chat.serve(replace(chat_config, trust=chat.Trust(tls=tls))) as server:
            config = proxy.Config(
                host="127.0.0.1", port=0, upstream=server.address, upstream_tls=shown, tls=tls
            )
            url = f"grpcs://{server.address}"
            assert (await run("hosting.health", url, *options, *certified)).status == 0
            assert (await run("hosting.health", url, *options)).status == 1
            async with proxy.serve(replace(config, tls=authority.files("front"))) as running:
                ready = await run(
                    "hosting.health", f"{running.url}readyz", "--wait", "60", *options
                )
                assert (ready.status, ready.errors) == (0, "")
                unknown = await run("hosting.health", url)
                assert unknown.status == 1
                assert "certificate verify failed" in unknown.errors
