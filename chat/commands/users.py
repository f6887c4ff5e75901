"""The argument of commands that are about a user."""

import sys
from typing import Any

import click

from chat.core.rules import Limits, Rules
from chat.errors import InvalidArgument
from hosting.options import TEXT


class UserId(click.ParamType[str]):
    """A user, as a server lets it be one; how long an id may be is the server's to say."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        user_id = TEXT.convert(value, param, ctx)
        try:
            Rules(Limits(id_length=sys.maxsize)).identifier(user_id, "user")
        except InvalidArgument as error:
            self.fail(f"{error}.", param, ctx)
        return user_id
