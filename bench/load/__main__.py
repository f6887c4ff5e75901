"""The load client process: reads a job from standard input, writes its result to output."""

import sys

import uvloop

from bench.load.clients import LoadError
from bench.load.job import Job
from bench.load.run import run


def main() -> None:
    """Runs the job."""
    job = Job.from_json(sys.stdin.read())
    try:
        result = uvloop.run(run(job))
    except (LoadError, OSError, TimeoutError) as error:
        sys.exit(f"{job.workload.name}: {error!r}")
    print(result.to_json())


if __name__ == "__main__":
    main()
