"""The command of a process that serves until it is stopped: from its settings to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from hosting.addresses import reason, to_change
from hosting.command import StartError, checking_options, run_service
from hosting.kinds import choice
from hosting.logs import FORMATS, LEVELS
from hosting.settings import (
    OPERATION,
    Settings,
    SettingsCommand,
    advice,
    build,
    option_of,
    setting,
    settings_of,
)
from hosting.settings_file import config_option
from hosting.telemetry.endpoint import UnusableMetricsPort
from hosting.tls import UnusableCertificate

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    class ServiceConfig(DataclassInstance, Protocol):
        """The settings of a process that listens on an address."""

        @property
        def host(self) -> str:
            """The address."""

        @property
        def port(self) -> int:
            """The TCP port."""


Config = TypeVar("Config", bound="ServiceConfig")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings(Settings):
    """Settings of the log."""

    level: str = setting(
        "info",
        choice(*LEVELS),
        "The minimum level of events to log: `debug`, `info`, `warning` or `error`. SIGUSR1 sets "
        "it to `debug` while the process runs, SIGUSR2 back.",
        name="log-level",
        group=OPERATION,
    )
    format: str = setting(
        "readable",
        choice(*FORMATS),
        "The format of an event: `readable`, as `key=value`, or `json`, one object per line.",
        name="log-format",
    )


@dataclass(frozen=True, slots=True)
class Service:
    """One of the processes.

    Attributes:
        name: its table in a settings file, and the beginning of its environment variables.
        program: its name in traces.
        text: what it does, for ``--help``.
        unusable: errors at its start whose text is for the operator.
    """

    name: str
    program: str
    text: str
    unusable: tuple[type[Exception], ...] = ()

    def command(
        self, config: type[Config], serve: Callable[[Config], Awaitable[None]]
    ) -> click.Command:
        """Its command, with an option for each setting.

        Args:
            config: the class of its settings.
            serve: serves until the process is to end.
        """
        settings = settings_of(config, LogSettings)

        def run(**values: Any) -> None:
            with checking_options():
                built, logs = build(config, values), build(LogSettings, values)
            run_service(lambda: self._run(built, serve), self.program, logs.level, logs.format)

        options = [option_of(each, self.name) for each in settings]
        options.append(config_option(self.name, settings))
        return SettingsCommand(self.name, callback=run, params=list(options), help=self.text)

    async def _run(self, config: Config, serve: Callable[[Config], Awaitable[None]]) -> None:
        unusable: tuple[type[Exception], ...] = (UnusableCertificate, *self.unusable)
        try:
            await serve(config)
        except unusable as error:
            raise StartError(str(error)) from error
        except UnusableMetricsPort as error:
            raise StartError(f"{error}; {advice(self.name, 'metrics-port')}") from error
        except OSError as error:
            where = f"{config.host}:{config.port}"
            changed = advice(self.name, to_change(error))
            raise StartError(f"cannot listen on {where}: {reason(error)}; {changed}") from error
