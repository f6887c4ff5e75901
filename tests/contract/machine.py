"""A store of any engine under a model: opened, opened again, emptied."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from chat.storage.base import Store
from tests.contract.engines import DURABLE, SHARED, Build, Place, empty, place_of
from tests.support import MODEL


class EngineMachine(RuleBasedStateMachine):
    """Has a store; what it should have is for others to know."""

    def __init__(self, build: Build, database: str) -> None:
        super().__init__()
        self.durable = build in DURABLE
        self.database = database
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.folder = tempfile.TemporaryDirectory()
        self.engine = build(Place(Path(self.folder.name), database))
        self.stack = AsyncExitStack()
        self.store = self.runner.run(self.open())

    async def open(self) -> Store:
        return await self.stack.enter_async_context(self.engine.open())

    @rule()
    def reopen(self) -> None:
        """Not of the engine in memory: it would be empty."""
        if self.durable:
            epoch = self.store.epoch
            self.runner.run(self.stack.aclose())
            self.store = self.runner.run(self.open())
            assert self.store.epoch == epoch

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        if self.database:
            self.runner.run(empty(self.database))
        self.runner.close()
        self.folder.cleanup()


def check(
    machine: type[EngineMachine],
    request: pytest.FixtureRequest,
    build: Build,
    examples: int,
    shared_examples: int,
) -> None:
    """Runs a machine on an engine; fewer examples on one with a server, which takes its time."""
    database = place_of(request, build).database
    most = shared_examples if build in SHARED else examples
    run_state_machine_as_test(
        lambda: machine(build, database),  # type: ignore[arg-type] # any factory will do
        settings=settings(MODEL, max_examples=most, stateful_step_count=20),
    )
