"""HTTP and WebSocket as bytes, and a proxy as a process that is weighed while it is attacked."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Self

from tests.faults.world import UNLIMITED
from tests.hosting.processes import ROOT, ended, ready_line
from tests.support import PATIENCE_SECONDS

HANDSHAKE: Final = {
    "Host": "localhost",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
# The command; what it has when nobody looks for unreachable cycles is a matter of chance.
_PROXY: Final = """
import gc, signal
from proxy.__main__ import main
signal.signal(signal.SIGRTMIN, lambda *_: gc.collect())
main()
"""
_LOG_LINE: Final = re.compile(r"timestamp=\S+ level=[a-z]+ logger=\S+ event=.+")


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    """A request; one character is one byte."""
    return "\r\n".join([line, *headers, "", ""]).encode("latin-1") + body


def get(path: str, *headers: str) -> bytes:
    """A request for a path, after which the connection is closed."""
    return request(f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers)


def post(*headers: str, body: bytes = b"") -> bytes:
    """A request that carries something, after which the connection is closed."""
    first = "Host: localhost", "Connection: close"
    return request("POST / HTTP/1.1", *first, *headers, body=body)


def handshake(**changes: str | None) -> bytes:
    """The request for a WebSocket (RFC 6455, section 4.1); underscores stand for dashes."""
    fields = HANDSHAKE | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return request("GET / HTTP/1.1", *lines)


class Wire:
    """One TCP connection, of which nothing is read that is not asked for."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @classmethod
    async def open(cls, port: int, *, receive_bytes: int = 0) -> Self:
        """Connects; its buffer may be small."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(sock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def reset_when_closed(self) -> None:
        """Lets the end of the connection be a reset."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        """Closes the socket."""
        self._sock.close()

    async def send(self, data: bytes) -> None:
        """Sends bytes; who was cut off meanwhile will see it when it reads."""
        with suppress(BrokenPipeError, ConnectionResetError):
            await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def receive(self) -> bytes:
        """Returns what comes next, or nothing once the server has closed."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                return await asyncio.get_running_loop().sock_recv(self._sock, 1 << 20)
            except ConnectionResetError:
                return b""

    def received(self) -> bytes:
        """Returns what has come already."""
        try:
            return self._sock.recv(1 << 20)
        except BlockingIOError:
            return b""

    @property
    def ended(self) -> bool:
        """Whether the server has closed, if nothing else has come."""
        try:
            return not self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False

    async def rest(self) -> bytes:
        """Returns what comes until the server has closed."""
        data = b""
        while piece := await self.receive():
            data += piece
        return data

    async def head(self) -> bytes:
        """Reads the head of an answer, which must be all that comes."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = await self.receive()
            assert piece, data
            data += piece
        assert data.endswith(b"\r\n\r\n")
        return data


def status(answer: bytes) -> int:
    """The status of an answer; none is 0."""
    found = re.match(rb"HTTP/\d\.\d (\d{3}) ", answer)
    return int(found[1]) if found else 0


async def answer_to(port: int, data: bytes) -> bytes:
    """Sends bytes over a connection of their own; returns what came until it was closed."""
    async with await Wire.open(port) as wire:
        await wire.send(data)
        return await wire.rest()


class ProxyProcess:
    """A proxy as a process of its own.

    Attributes:
        port: where it listens.
        pid: the process.
    """

    def __init__(self, process: Process, port: int) -> None:
        self.port = port
        self.pid = process.pid
        self._process = process

    @classmethod
    @asynccontextmanager
    async def running(cls, upstream: str, *options: str) -> AsyncIterator[Self]:
        """Runs a proxy, which must have nothing to say of what was done to it."""
        here = (
            *("--host", "127.0.0.1", "--port", "0", "--metrics-port", "off"),
            *("--upstream", upstream, *UNLIMITED),
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PROXY, *here, *options, cwd=ROOT, stdout=PIPE, stderr=PIPE
        )
        try:
            found = re.search(r":(\d+)/", await ready_line(process))
            assert found
            yield cls(process, int(found[1]))
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    def collect_garbage(self) -> None:
        """Makes it look for unreachable cycles, as soon as it is woken by something else."""
        os.kill(self.pid, signal.SIGRTMIN)

    @property
    def files(self) -> int:
        """How many files it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 - names are enough

    @property
    def memory(self) -> int:
        """How many bytes of memory it has, of which others have no part."""
        _, resident, shared, *_ = Path(f"/proc/{self.pid}/statm").read_text().split()
        return (int(resident) - int(shared)) * _PAGE_BYTES

    async def stop(self) -> list[str]:
        """Stops it in order; returns the lines of its log, each of which must be one event."""
        self._process.terminate()
        end = await ended(self._process)
        assert end.status == 0
        lines = end.errors.splitlines()
        for line in lines:
            assert _LOG_LINE.fullmatch(line), line
            assert line.isprintable(), line
            assert "Traceback" not in line, line
        return lines
