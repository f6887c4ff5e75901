"""Enums between numbers, betterproto's enum classes and names of the schema."""

from typing import Any, Generic, TypeVar

import betterproto

from .errors import DecodeError
from .jsonvalues import parse_int32
from .reading import signed32

E = TypeVar("E", bound=betterproto.Enum)


class EnumTable(dict[int, E], Generic[E]):
    """The values of an enum, by number.

    A number that the schema does not name gives a value without a name, as proto3 wants it.
    """

    def __init__(self, enum: type[E], numbers: dict[str, int]) -> None:
        """Makes the table.

        Args:
            enum: betterproto's class.
            numbers: The numbers by name. Of names for one number, the first is written in JSON.
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
            DecodeError: It is something else.
        """
        if type(item) is not str:
            return self[parse_int32(item)]
        if item not in self._numbers:
            raise DecodeError("", "not a name of this enum")
        return self[self._numbers[item]]

    def format(self, value: int) -> str | int:
        """Returns the JSON value: a name of the schema, or a number that it does not name."""
        name = self._names.get(value)
        return int(value) if name is None else name
