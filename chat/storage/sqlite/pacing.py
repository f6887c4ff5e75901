"""Jobs on their way to the writer: changes that come quickly are put there together.

A change of its own costs the disk as much as a hundred that are made together, and a message that
comes meanwhile waits for it. So behind one that went at once the next ones wait a few milliseconds
for each other, and the longer, the more come. They never hold up anything else. A message overtakes
them: its commit shall be no longer for theirs, and whoever waits for the answer to a change sends
nothing meanwhile. Whatever else comes goes at once, behind them, and in the same commit.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from chat.storage.sqlite.jobs import Append, Changing, Job

PACE_SECONDS: Final = 0.005
"""How long changes wait for each other, at most."""
STORM_SECONDS: Final = 0.1
"""The same where many come."""
# A pause is so long for each that came in the one before: it grows where they come faster.
_EACH_SECONDS: Final = 0.005


class Pacing:
    """The changes that wait.

    Args:
        put: takes a job; changes come in the order in which they came here.
    """

    def __init__(self, put: Callable[[Job], None]) -> None:
        self._put = put
        self._waiting: list[Job] = []
        # How many came in this pause.
        self._came = 0
        # Since changes went: the end of the time in which the next ones wait.
        self._pause: asyncio.TimerHandle | None = None

    def put(self, job: Job) -> None:
        """Passes a job on, now or soon."""
        if isinstance(job, Append):
            self._put(job)
        elif isinstance(job, Changing):
            self._came += len(job.changes)
            self._waiting.append(job)
            if self._pause is None:
                self._go_on()
        else:
            self.flush()
            self._put(job)

    def flush(self) -> None:
        """Passes on all that waits."""
        jobs, self._waiting = self._waiting, []
        for job in jobs:
            self._put(job)

    def _go_on(self) -> None:
        came, self._came = self._came, 0
        self._pause = None
        if came:
            seconds = min(max(PACE_SECONDS, came * _EACH_SECONDS), STORM_SECONDS)
            self._pause = asyncio.get_running_loop().call_later(seconds, self._go_on)
            self.flush()
