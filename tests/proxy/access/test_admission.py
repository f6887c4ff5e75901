"""Admission of browsers: origins, limits per address, and security headers."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSServerHandshakeError
from structlog.testing import capture_logs

import chat
import proxy
from tests.access.certificates import Authority
from tests.kit.web import HANDSHAKE
from tests.proxy.web_client import Client, Http, message, serve_http
from tests.support import eventually

ELSEWHERE = "https://evil.example"


@asynccontextmanager
async def door(config: proxy.Config, **admission: object) -> AsyncIterator[Http]:
    """A proxy with these admission rules."""
    settings = proxy.AdmissionRules(**admission)  # type: ignore[arg-type]  # tests know them
    async with serve_http(replace(config, admission=settings)) as http:
        yield http


async def enter(http: Http, **headers: str) -> int:
    """Opens a WebSocket and uses it; returns 101, or the status of the refusal."""
    try:
        async with http.ws_connect("/", headers=headers) as socket:
            assert "chat_message" in await Client(socket).ask(chat_message=message("lobby"))
    except WSServerHandshakeError as refused:
        return refused.status
    return 101


class TestOrigins:
    """Pages of other origins are refused."""

    async def test_own_page_and_native_clients_connect(self, proxy_config: proxy.Config) -> None:
        async with door(proxy_config) as http:
            own = str(http.make_url("")).rstrip("/")
            assert await enter(http) == 101
            assert await enter(http, Origin=own) == 101
            assert await enter(http, Origin=own.replace("http:", "https:")) == 101

    async def test_foreign_page_is_refused(self, proxy_config: proxy.Config) -> None:
        protocols = {"Sec-WebSocket-Protocol": "chat"}
        async with door(proxy_config) as http:
            for origin in (ELSEWHERE, "null", "http://localhost:1", ""):
                assert await enter(http, Origin=origin) == 403, origin
                assert await enter(http, Origin=origin, **protocols) == 403, origin

    async def test_refused_page_gets_an_explanation(self, proxy_config: proxy.Config) -> None:
        headers = HANDSHAKE | {"Origin": ELSEWHERE}
        async with door(proxy_config) as http, http.get("/", headers=headers) as refused:
            assert refused.status == 403
            assert await refused.text() == "pages of this origin may not connect\n"
            assert refused.headers["Content-Security-Policy"]

    async def test_refused_origin_is_logged_once(self, proxy_config: proxy.Config) -> None:
        """Once for each origin, up to a bounded number of them."""
        async with door(proxy_config) as http:
            with capture_logs() as logs:
                for _ in range(3):
                    assert await enter(http, Origin=ELSEWHERE) == 403
                    assert await enter(http, Origin="null") == 403
                told = [line for line in logs if "origin" in line]
                assert {line["log_level"] for line in told} == {"info"}
                assert [line["origin"] for line in told] == [ELSEWHERE, "null"]
                assert {line["listed_by"] for line in told} == {"PROXY_ORIGINS"}
                for number in range(300):
                    headers = HANDSHAKE | {"Origin": f"https://{number}.example"}
                    async with http.get("/", headers=headers) as refused:
                        assert refused.status == 403
            assert sum("origin" in line for line in logs) == 100

    async def test_own_page_beside_listed_origins(self, proxy_config: proxy.Config) -> None:
        async with door(proxy_config, origins=("self", ELSEWHERE)) as http:
            assert await enter(http, Origin=ELSEWHERE) == 101
            assert await enter(http, Origin=str(http.make_url("")).rstrip("/")) == 101
            assert await enter(http, Origin="https://other.example") == 403

    async def test_own_page_behind_another_proxy(self, proxy_config: proxy.Config) -> None:
        told = {"Origin": "https://chat.example.org", "X-Forwarded-Host": "chat.example.org"}
        async with door(proxy_config) as http:
            assert await enter(http, **told) == 403
        async with door(proxy_config, trusted_proxies=("127.0.0.1",)) as http:
            assert await enter(http, **told) == 101
            assert await enter(http, **told | {"Origin": ELSEWHERE}) == 403


class TestAddresses:
    """Limits per address: connections at once, and handshakes per second."""

    async def test_connections_per_address_are_bounded(self, proxy_config: proxy.Config) -> None:
        async with door(proxy_config, connections_per_address=2) as http:
            first, _ = [await http.ws_connect("/") for _ in range(2)]
            with pytest.raises(WSServerHandshakeError) as refused:
                await http.ws_connect("/")
            assert refused.value.status == 429
            assert refused.value.headers is not None
            assert refused.value.headers["Retry-After"] == "10"
            await first.close()

            async def room() -> bool:
                return await enter(http) == 101

            await eventually(room)

    async def test_handshakes_per_address_are_bounded(self, proxy_config: proxy.Config) -> None:
        async with door(proxy_config, handshakes_per_second=0.2) as http:
            assert [await enter(http) for _ in range(2)] == [101, 101]
            with pytest.raises(WSServerHandshakeError) as refused:
                await http.ws_connect("/")
            assert refused.value.status == 429
            assert refused.value.headers is not None
            assert 1 <= int(refused.value.headers["Retry-After"]) <= 5
            async with http.get("/") as page:
                assert page.status == 200

    async def test_refused_page_uses_no_quota(self, proxy_config: proxy.Config) -> None:
        async with door(proxy_config, connections_per_address=1, handshakes_per_second=0.1) as http:
            assert [await enter(http, Origin=ELSEWHERE) for _ in range(20)] == [403] * 20
            assert await enter(http) == 101

    async def test_address_has_its_own_quota(self, proxy_config: proxy.Config) -> None:
        async with door(
            proxy_config, connections_per_address=1, trusted_proxies=("127.0.0.1",)
        ) as http:
            one, other = {"X-Forwarded-For": "198.51.100.1"}, {"X-Forwarded-For": "198.51.100.2"}
            await http.ws_connect("/", headers=one)
            assert await enter(http, **one) == 429
            assert await enter(http, **{"X-Forwarded-For": "6.6.6.6, 198.51.100.1"}) == 429
            assert await enter(http, **other) == 101

    async def test_forged_address_is_ignored(self, proxy_config: proxy.Config) -> None:
        async with door(proxy_config, connections_per_address=1) as http:
            await http.ws_connect("/")
            assert await enter(http, **{"X-Forwarded-For": "198.51.100.2"}) == 429


def check_security(headers: Mapping[str, str]) -> None:
    policy = dict(each.split(" ", 1) for each in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert re.fullmatch(r"'self'( 'sha256-[\w+/]{43}=')?", policy["style-src"])
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "microphone=()" in headers["Permissions-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert "Set-Cookie" not in headers
    assert "Strict-Transport-Security" not in headers


class TestHeaders:
    """Each answer has the security headers."""

    async def test_each_answer_has_security_headers(self, http: Http) -> None:
        paths = {"/": 200, "/static/js/main.js": 200, "/healthz": 200, "/readyz": 200}
        paths |= dict.fromkeys(("/nothing", "/static/nothing"), 404)
        for path, status in paths.items():
            async with http.get(path) as answer:
                assert answer.status == status, path
                check_security(answer.headers)

    async def test_unserved_method_has_security_headers(self, http: Http) -> None:
        async with http.post("/") as answer:
            assert answer.status == 405
            assert answer.headers["X-Content-Type-Options"] == "nosniff"

    async def test_hsts_behind_tls_proxy(self, proxy_config: proxy.Config) -> None:
        secure = {"X-Forwarded-Proto": "https"}
        async with door(proxy_config, trusted_proxies=("127.0.0.1",)) as http:
            async with http.get("/", headers=secure) as answer:
                assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
            for other in ({}, {"X-Forwarded-Proto": "http"}, secure | {"Host": "localhost:1"}):
                async with http.get("/", headers=other) as answer:
                    assert "Strict-Transport-Security" not in answer.headers
        async with door(proxy_config) as http, http.get("/", headers=secure) as answer:
            assert "Strict-Transport-Security" not in answer.headers

    async def test_hsts_over_own_tls(self, chat_server: chat.RunningServer, tmp_path: Path) -> None:
        config = proxy.Config(
            host="127.0.0.1",
            port=0,
            upstream=chat_server.address,
            tls=Authority(tmp_path).files("front"),
        )
        async with (
            proxy.serve(config) as running,
            aiohttp.ClientSession() as session,
            session.get(running.url, ssl=False) as answer,
        ):
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
