"""What RFC 6455 forbids a client to send.

aiohttp's reader takes some of it, and closes the connection at once for the rest. That resets
it while the client still sends, and a client or a proxy between that fails to write drops what
it has not read, the close frame among it.
"""

from dataclasses import dataclass
from typing import Final

from aiohttp import WSCloseCode

# The parts of a frame's head: RFC 6455, section 5.2.
FIN: Final = 0x80
OPCODE: Final = 0x0F
CONTROL: Final = 0x08
_RESERVED: Final = 0x70
_MASK: Final = 0x80
_MASK_BYTES: Final = 4
_CLOSE: Final = 0x08
_TEXT: Final = FIN | 0x01
# Continuation, text and binary, whole or not, and close, ping and pong.
_FIRST_BYTES: Final = frozenset((0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A))
# The head of a frame with a mask, and nothing in it.
_SHORTEST: Final = 2 + _MASK_BYTES
_SIZE: Final = 0x7F
_SIZE_IN_2: Final = 126
_SIZE_IN_8: Final = 127
_CODE_BYTES: Final = 2
_LONGEST_CONTROL: Final = 125
# RFC 6455, section 7.4, and what IANA has added to it.
_CLOSE_CODES: Final = frozenset({*range(1000, 1015), *range(3000, 5000)} - {1004, 1005, 1006})


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a client breaks.

    Attributes:
        code: the close code for it.
        rule: the rule, for the client.
    """

    code: int
    rule: str


def is_one_text(data: bytes, most: int) -> bool:
    """Whether bytes are a text in one frame with a mask, and nothing else.

    Args:
        data: some bytes.
        most: the most bytes of a message.
    """
    there = len(data)
    if there < _SHORTEST or data[0] != _TEXT or not data[1] & _MASK:
        return False
    size = data[1] & _SIZE
    if size == _SIZE_IN_2:
        size = data[2] << 8 | data[3]
        return there == size + _SHORTEST + 2 and size <= most
    return size < _SIZE_IN_2 and there == size + _SHORTEST and size <= most


def head_of(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Reads the head of a frame (RFC 6455, section 5.2), if it is all there.

    Returns:
        Its first byte, the size of its payload, and where that begins.
    """
    end = len(data)
    if end - at < 2:
        return None
    size = data[at + 1] & _SIZE
    payload = at + 2 + (data[at + 1] & _MASK and _MASK_BYTES)
    if size == _SIZE_IN_2:
        payload += 2
        size = int.from_bytes(data[at + 2 : at + 4], "big")
    elif size == _SIZE_IN_8:
        payload += 8
        size = int.from_bytes(data[at + 2 : at + 10], "big")
    return None if payload > end else (data[at], size, payload)


def is_close(first: int) -> bool:
    """Whether a frame with this first byte closes the connection."""
    return first & OPCODE == _CLOSE


def violation(
    data: bytes, at: int, size: int, payload: int, message: int | None, most: int
) -> Violation | None:
    """Returns the rule that a frame breaks, if there is one.

    Args:
        data: some bytes.
        at: where the frame begins.
        size: the size of its payload.
        payload: where that begins.
        message: the bytes of the message before it, None between messages.
        most: the most bytes of a message.
    """
    first = data[at]
    if first not in _FIRST_BYTES or not data[at + 1] & _MASK:
        return _wrong_head(first)
    if first & CONTROL:
        if size > _LONGEST_CONTROL:
            return _protocol_error("a control frame has 125 bytes at most")
        return _wrong_close(data, size, payload) if is_close(first) else None
    if (message is not None) == bool(first & OPCODE):
        return _protocol_error(
            "only a begun message is continued"
            if message is None
            else "a message is continued before the next one begins"
        )
    if (message or 0) + size > most:
        return Violation(WSCloseCode.MESSAGE_TOO_BIG, f"a message has {most} bytes at most")
    return None


def close_frame(code: int) -> bytes:
    """A client's close frame."""
    # A mask of zeros changes nothing.
    return bytes((FIN | _CLOSE, _MASK | _CODE_BYTES, 0, 0, 0, 0)) + code.to_bytes(2, "big")


def _protocol_error(rule: str) -> Violation:
    return Violation(WSCloseCode.PROTOCOL_ERROR, rule)


def _wrong_head(first: int) -> Violation:
    if first & _RESERVED:
        return _protocol_error("reserved bits are 0: there are no extensions")
    if first in _FIRST_BYTES:
        return _protocol_error("a client masks its frames")
    if first | FIN in _FIRST_BYTES:
        return _protocol_error("a control frame is not fragmented")
    return _protocol_error(f"there is no opcode {first & OPCODE}")


def _wrong_close(data: bytes, size: int, payload: int) -> Violation | None:
    """Checks a close frame, if it is all there (RFC 6455, section 5.5.1)."""
    end = payload + size
    if not size or len(data) < end:
        return None
    if size < _CODE_BYTES:
        return _protocol_error("a close frame has no bytes, or a code of two")
    mask = data[payload - _MASK_BYTES : payload]
    plain = bytes(byte ^ mask[at % _MASK_BYTES] for at, byte in enumerate(data[payload:end]))
    code = int.from_bytes(plain[:_CODE_BYTES], "big")
    if code not in _CLOSE_CODES:
        return _protocol_error(f"no client closes with the code {code}")
    try:
        plain[_CODE_BYTES:].decode()
    except UnicodeDecodeError:
        return Violation(WSCloseCode.INVALID_TEXT, "the reason of a close is UTF-8")
    return None
