"""A client that sends GOAWAY gets its open calls answered (RFC 9113, section 6.8)."""

import asyncio
import struct

import pytest
from h2.errors import ErrorCodes

import chat
import codec
from gen.chat import ChatMessage, ChatStream, GetChatHistoryRequest
from tests.kit.http2 import (
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RawClient,
    frame,
    headers,
    opening,
    payloads,
    prefixed,
)

HISTORY = "/chat.ChatService/GetChatHistory"
CHAT = "/chat.ChatService/Chat"
ASKED = prefixed(codec.encode(GetChatHistoryRequest("lobby")))


def goodbye(code: ErrorCodes = ErrorCodes.NO_ERROR) -> bytes:
    return frame(GOAWAY, struct.pack(">II", 0, code))


def asking(stream: int) -> bytes:
    return opening(stream, headers(HISTORY)) + frame(DATA, ASKED, stream=stream, flags=END_STREAM)


def said(number: int) -> bytes:
    message = ChatMessage(str(number), "lobby", "ada", "hello")
    return frame(DATA, prefixed(codec.encode(ChatStream(chat_message=message))), stream=1)


@pytest.mark.parametrize("code", [ErrorCodes.NO_ERROR, ErrorCodes.CANCEL])
async def test_goaway_lets_calls_be_answered(
    chat_server: chat.RunningServer, code: ErrorCodes
) -> None:
    async with RawClient.connect(chat_server.port) as client:
        client.send(PREFACE + asking(1) + asking(3) + goodbye(code))
        ended = [(await client.until(HEADERS, flags=END_STREAM)).stream for _ in range(2)]
        assert sorted(ended) == [1, 3]
        assert await client.end() == ErrorCodes.NO_ERROR


async def test_goaway_lets_a_stream_go_on(chat_server: chat.RunningServer) -> None:
    async with RawClient.connect(chat_server.port) as client:
        client.send(PREFACE + opening(1, headers(CHAT)) + said(1) + goodbye() + said(2))
        for number in (1, 2):
            [payload] = payloads((await client.until(DATA)).payload)
            assert codec.decode(ChatStream, payload).chat_message.seq == number
        client.send(goodbye() + said(3))
        await client.until(DATA)
        client.send(frame(DATA, stream=1, flags=END_STREAM))
        assert (await client.until(HEADERS, flags=END_STREAM)).stream == 1
        assert await client.end() == ErrorCodes.NO_ERROR


async def test_goaway_without_calls_ends_at_once(
    chat_server: chat.RunningServer,
) -> None:
    async with RawClient.connect(chat_server.port) as client:
        client.send(PREFACE + goodbye())
        assert await client.end() == ErrorCodes.NO_ERROR


async def test_drain_ends_a_stream_after_goaway(chat_config: chat.Config) -> None:
    async with chat.serve(chat_config) as server, RawClient.connect(server.port) as client:
        client.send(PREFACE + opening(1, headers(CHAT)) + said(1) + goodbye())
        await client.until(DATA)
        stopping = asyncio.create_task(server.drain())
        await client.until(HEADERS, flags=END_STREAM)
        assert await client.end() == ErrorCodes.NO_ERROR
        await stopping
