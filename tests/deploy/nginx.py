"""A real nginx with the configuration of `deploy/`, on loopback and on free ports."""

import asyncio
import os
import shutil
import ssl
import subprocess
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from grpclib.client import Channel
from grpclib.config import Configuration

import codec
from tests.kit.ports import free_ports, has_ipv6
from tests.support import PATIENCE_SECONDS, eventually

DEPLOY: Final = Path(__file__).parents[2] / "deploy"

# Debian's folder for it, which is not on every PATH.
_PATH: Final = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])

# nginx.conf is the system's; this one only keeps everything in one folder.
_MAIN: Final = """
daemon off;
worker_processes 1;
pid nginx.pid;
{user}
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    include {name}.conf;
    # As Debian's sites-enabled/default has it, which is read last.
    server {{
        {listens}
        server_name _;
        return 418;
    }}
}}
"""

HOST: Final = "127.0.0.1"

Changes = dict[str, str]


def tool(name: str) -> str:
    """Path of a program; if missing, fails in CI and skips elsewhere."""
    found = shutil.which(name, path=_PATH)
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed")
    pytest.skip(f"{name} is not installed: what needs it was not tried")


@dataclass(frozen=True)
class Front:
    """A running nginx.

    Attributes:
        host: its address.
        web: URL of the page and the WebSocket.
        insecure: URL that redirects to `web`, if there is one.
        grpc_port: port of gRPC.
        tls: trust of its clients, if it speaks TLS.
    """

    host: str
    web: str
    insecure: str
    grpc_port: int
    tls: ssl.SSLContext | None

    def channel(self, host: str = HOST) -> Channel:
        """A gRPC channel to it, by another address if given."""
        if self.tls is not None:
            self.tls.set_alpn_protocols(["h2"])
        named = Configuration(ssl_target_name_override=self.host)
        return Channel(host, self.grpc_port, ssl=self.tls, codec=codec.GrpcCodec(), config=named)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Makes a certificate for 127.0.0.1, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(  # noqa: S603 - no input of others
        [
            tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=test",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate,
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def _listens(**ports: int) -> Changes:
    """Replacements of ports, such as ``p80``, by free ones on loopback."""
    changes = {f"listen {name[1:]}": f"listen {HOST}:{port}" for name, port in ports.items()}
    for name, port in ports.items():
        old = f"listen [::]:{name[1:]}"
        changes[old] = f"listen [::1]:{port}" if has_ipv6() else f"# {old}"
    return changes


def render(folder: Path, name: str, plain: int, changes: Changes) -> None:
    """Copies the configuration, with the text of this machine.

    Args:
        folder: the target.
        name: the variant.
        plain: the port in place of port 80.
        changes: replacements. Each must occur.
    """
    shutil.copytree(DEPLOY / "nginx", folder)
    missing = set(changes)
    for file in folder.rglob("*.conf"):
        text = file.read_text()
        for old, new in changes.items():
            if old in text:
                missing.discard(old)
                text = text.replace(old, new)
        file.write_text(text)
    assert not missing
    addresses = (HOST, "[::1]") if has_ipv6() else (HOST,)
    listens = " ".join(f"listen {address}:{plain} default_server;" for address in addresses)
    (folder / "nginx.conf").write_text(_MAIN.format(user=_user(), name=name, listens=listens))


def command(folder: Path, *options: str) -> list[str]:
    """The command line of nginx in a folder."""
    return [tool("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr", *options]


@asynccontextmanager
async def running(
    folder: Path, name: str, ports: Iterable[int], changes: Changes
) -> AsyncIterator[Front]:
    """Runs nginx.

    Args:
        folder: a new folder for its files.
        name: ``chat-plain`` or ``chat-tls``.
        ports: two free ones.
        changes: see `render`; beside ports, names and certificates.
    """
    first, second = ports
    host = HOST
    changes = {"chat.example.org": host, **changes}
    if name == "chat-tls":
        certificate, key = make_certificate(folder.parent)
        render(folder, name, second, {
            **_listens(p443=first, p80=second),
            "/etc/ssl/chat/fullchain.pem": str(certificate),
            "/etc/ssl/chat/privkey.pem": str(key),
            **changes,
        })  # fmt: skip
        trust = ssl.create_default_context(cafile=certificate)
        front = Front(host, f"https://{host}:{first}", f"http://{host}:{second}", first, trust)
    else:
        render(folder, name, first, {**_listens(p80=first, p50080=second), **changes})
        front = Front(host, f"http://{host}:{first}", "", second, None)
    async with _started(folder, second):
        yield front


@asynccontextmanager
async def running_nodes(folder: Path, proxies: Sequence[str]) -> AsyncIterator[Front]:
    """Runs the nginx of several nodes in front of two proxies at these addresses."""
    shutil.copytree(DEPLOY / "nginx", folder)
    [port] = free_ports(1)
    changes = {
        "/tmp/": f"{folder}/",  # noqa: S108 - that of its container
        "set_real_ip_from 172.30.82.1;": f"set_real_ip_from {HOST};",
        "listen 8080": f"listen {HOST}:{port}",
        "worker_processes     auto;": f"worker_processes 1; {_user()} daemon off;",
        # What the test's own limit of open files allows.
        "worker_rlimit_nofile 65536;": "",
        "worker_connections 16384;": "worker_connections 512;",
    } | {f"proxy{number}:8080": address for number, address in enumerate(proxies, 1)}
    text = (folder / "nodes.conf").read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(text)
    async with _started(folder, port):
        yield Front(HOST, f"http://{HOST}:{port}", "", 0, None)


def _user() -> str:
    """Started as root, workers run as a user that may not enter a test's folder."""
    return "user root;" if os.geteuid() == 0 else ""


@asynccontextmanager
async def _started(folder: Path, port: int) -> AsyncIterator[None]:
    """Runs nginx with the configuration in a folder, once it listens on a port."""
    process = await asyncio.create_subprocess_exec(*command(folder), stdout=PIPE, stderr=STDOUT)
    try:
        await eventually(lambda: process.returncode is not None or _listening(HOST, port))
        assert process.returncode is None
        yield
    except BaseException as error:
        error.add_note(await _stop(process))
        raise
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> str:
    """Stops nginx; returns its output."""
    if process.returncode is None:
        process.terminate()
    async with asyncio.timeout(PATIENCE_SECONDS):
        output, _ = await process.communicate()
    return f"nginx:\n{output.decode()}"


async def _listening(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
