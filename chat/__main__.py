"""The command ``python -m chat``."""

from __future__ import annotations

import click

from chat.config import Config, ConnectionLimits
from chat.rules import Limits
from chat.server import serve
from chat.storage.base import StoreUnusable
from daemon.cli import StartError, cannot_listen, ready, run_command, run_service
from daemon.lifecycle import stop_event
from daemon.options import Options

_default = Config()
_limits = Limits()
_connections = ConnectionLimits()
_options = Options("CHAT")


@click.command(help="Run the chat server: rooms, history and users over gRPC.")
@_options.text("host", _default.host, "The address to listen on.")
@_options.port(_default.port)
@_options.text("database", _default.database, "The SQLite file; ':memory:' keeps nothing on disk.")
@_options.count("content-bytes", _limits.content_bytes, "Longest text of a message, in bytes.")
@_options.count("id-length", _limits.id_length, "Longest id or name, in characters.")
@_options.count("rooms-per-stream", _limits.rooms_per_stream, "Rooms one stream may be in.")
@_options.count("connections", _connections.connections, "Connections in all.")
@_options.count(
    "streams-per-connection", _connections.streams_per_connection, "Calls open on one connection."
)
@_options.seconds("handshake-seconds", _connections.handshake_seconds, "For a client's preface.")
@_options.seconds("stall-seconds", _connections.stall_seconds, "For a client whose socket is full.")
@_options.count("mailbox-bytes", _default.mailbox_bytes, "What may wait for a client.")
@_options.count("relay-mailbox-bytes", _default.relay_mailbox_bytes, "The same for a proxy.")
@_options.count("replay-messages", _default.replay_messages, "What `join` replays at most.")
@_options.count("write-queue-bytes", _default.write_queue_bytes, "What may wait for the disk.")
@_options.seconds("drain-seconds", _default.drain_seconds, "How long a stop waits for calls.")
@_options.log_level()
def command(
    log_level: str,
    content_bytes: int,
    id_length: int,
    rooms_per_stream: int,
    connections: int,
    streams_per_connection: int,
    handshake_seconds: float,
    stall_seconds: float,
    **settings: object,
) -> None:
    """Builds the settings and serves."""
    config = Config(
        limits=Limits(content_bytes, id_length, rooms_per_stream),
        connection_limits=ConnectionLimits(
            connections, streams_per_connection, handshake_seconds, stall_seconds
        ),
        **settings,  # type: ignore[arg-type]  # click checked them
    )
    run_service(lambda: _serve(config), log_level)


async def _serve(config: Config) -> None:
    with stop_event() as stop:
        try:
            async with serve(config) as server:
                ready(f"chat server ready: gRPC on {server.address}")
                await stop.wait()
        except StoreUnusable as error:
            raise StartError(str(error)) from error
        except OSError as error:
            raise cannot_listen(config.host, config.port, error) from error


def main() -> None:
    """The console script ``chat-server``."""
    run_command(command, "chat-server")


if __name__ == "__main__":
    run_command(command, "python -m chat")
