"""Header compression (HPACK, RFC 7541), within bounds.

- A header block is at most `HEADER_BYTES` large, encoded and decoded.
- A block that cannot be decompressed is COMPRESSION_ERROR (RFC 9113, section 4.3): later ones
  refer to it.
- A malformed field is a mistake of its request alone (section 8.2): the block is replaced by
  one that no request may have.
"""

from typing import Any, Final

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hpack import Decoder, HeaderTuple, HPACKError, OversizedHeaderListError
from hyperframe.frame import SettingsFrame

from hosting.grpc.headers import has_malformed_field

HEADER_BYTES: Final = 16 * 1024
"""The largest header block, encoded and decoded."""

_HEADER_TABLE_BYTES: Final = 4096

# In the place of a block in which a field is malformed, for which h2 would end the connection.
_MALFORMED: Final = HeaderTuple(b":malformed", b"")


class _CompressionError(ProtocolError):
    """A header block cannot be decompressed: later ones could not be either."""

    error_code = ErrorCodes.COMPRESSION_ERROR


class BoundedDecoder(Decoder):
    """hpack's decoder, with distinct errors, that passes on nothing malformed."""

    def __init__(self) -> None:
        super().__init__()
        self.max_header_list_size = HEADER_BYTES

    def decode(self, data: bytes, raw: bool = False) -> Any:
        """See hpack.

        Raises:
            _CompressionError: the block cannot be decompressed.
            OversizedHeaderListError: it is too large.
        """
        try:
            headers = super().decode(data, raw)
        except OversizedHeaderListError:
            raise
        except HPACKError as error:
            raise _CompressionError(f"the header block is malformed: {error}") from error
        return [_MALFORMED] if has_malformed_field(headers) else headers


def cap_header_table(frame: SettingsFrame) -> None:
    """Caps the HPACK table size that a client asks for."""
    asked = frame.settings.get(SettingsFrame.HEADER_TABLE_SIZE)
    if asked is not None:
        frame.settings[SettingsFrame.HEADER_TABLE_SIZE] = min(asked, _HEADER_TABLE_BYTES)
