"""Maps enums between numbers, betterproto's enum classes and names of the schema."""

from typing import Any, Generic, TypeVar

import betterproto

from .errors import DecodeError
from .jsonvalues import parse_int32
from .reading import signed32

E = TypeVar("E", bound=betterproto.Enum)


class EnumTable(dict[int, E], Generic[E]):
    """The values of an enum, by number.

    A number without a name in the schema is kept as an unnamed value, since proto3 enums are open.
    """

    def __init__(self, enum: type[E], numbers: dict[str, int]) -> None:
        """Builds the table.

        Args:
            enum: betterproto's class.
            numbers: The numbers by name. JSON uses the first of several names of a number.
        """
        super().__init__({number: enum.try_value(number) for number in numbers.values()})
        self._enum = enum
        self._numbers = numbers
        self._names = {number: name for name, number in reversed(numbers.items())}

    def __missing__(self, number: int) -> E:
        return self._enum.try_value(signed32(number))

    def parse(self, item: Any) -> E:
        """Reads a JSON value: a name of the schema, or a number.

        Raises:
            DecodeError: It is neither.
        """
        if type(item) is not str:
            return self[parse_int32(item)]
        if item not in self._numbers:
            raise DecodeError("", "not a name of this enum")
        return self[self._numbers[item]]

    def format(self, value: int) -> str | int:
        """Returns the JSON value: a name of the schema, or an unnamed number."""
        name = self._names.get(value)
        return int(value) if name is None else name
