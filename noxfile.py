"""The project's tasks. Each session installs its dependencies once.

``nox -s serve`` runs the chat, ``nox -s tests`` tests it.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.sessions = ["tests", "lint"]
# Environments are reused; dependencies are reinstalled only when they change.
nox.options.reuse_venv = "yes"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
CI = bool(os.environ.get("CI"))

# System programs that the tests need, by Debian package.
SYSTEM = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "nodejs": ("node", "nodejs"),
    "npm": ("npm",),
    "nginx": ("nginx",),
    "openssl": ("openssl",),
    "systemd": ("systemd-analyze",),
    "prometheus": ("promtool",),
    "postgresql": ("postgres",),
    "redis-server": ("valkey-server", "redis-server"),
}
# Debian installs some of them outside of an ordinary user's path. The cluster that the package
# of PostgreSQL makes is not used: the tests start servers of their own.
SYSTEM_PATH = os.pathsep.join(
    [
        os.environ.get("PATH", os.defpath),
        "/usr/sbin",
        *map(str, Path("/usr/lib/postgresql").glob("*/bin")),
    ]
)

LOCK = "requirements.lock"
ENGINES = ["--extra", "postgresql", "--extra", "valkey"]
# The URLs that ask for one of them, and the variables of the server that may hold them.
SCHEMES = {"postgresql": "postgres(ql)?", "valkey": "(valkey|redis)s?"}
ENGINE_VARIABLES = ("CHAT_DATABASE", "CHAT_HINTS")
# Each lock file, and the requirements that it pins.
LOCKS = {
    # With what every engine needs: a lock file for each choice would be one too many.
    LOCK: [*ENGINES, "pyproject.toml"],
    # OpenTelemetry as well; the constraint keeps all other versions the same.
    "deploy/tracing.lock": [
        *ENGINES,
        "--extra",
        "tracing",
        "--constraint",
        LOCK,
        "pyproject.toml",
    ],
    # The tools that build the project's wheel.
    "deploy/build.lock": ["--group", "build"],
}


def install(session: nox.Session, *groups: str, project: str = ".") -> None:
    """Installs the project and some of its dependency groups, unless they are up to date.

    Args:
        session: the session that needs them.
        groups: the groups.
        project: the project, with its extras; empty for the groups alone.
    """
    names = [name for group in groups for name in nox.project.dependency_groups(PROJECT, group)]
    wanted = [*(["-e", project] if project else []), *names]
    made = Path(session.virtualenv.location) / "installed"
    # A change of any of these reinstalls: location, requirements, groups.
    of_what = [str(ROOT), (ROOT / "pyproject.toml").read_text(encoding="utf-8"), *wanted]
    once(session, made, of_what, lambda: session.install(*wanted))


def once(session: nox.Session, made: Path, of_what: list[str], step: Callable[[], None]) -> None:
    """Runs an installation step unless its inputs are unchanged.

    If the step fails, as without a network, the previous installation is kept; except in CI.

    Args:
        session: the session that needs it.
        made: a file that records the inputs; it must be deleted with the installation.
        of_what: the inputs of the step.
        step: performs the installation.
    """
    key = hashlib.sha256("\0".join(of_what).encode()).hexdigest()
    if made.is_file() and made.read_text(encoding="utf-8") == key:
        return
    if session.run_install("python", "-c", "", silent=True, log=False) is None:
        return  # `nox -R` installs nothing
    try:
        step()
    except nox.command.CommandFailed:
        if CI or not made.is_file():
            raise
        session.warn("could not install what has changed: going on with what was there")
    else:
        made.write_text(key, encoding="utf-8")


@nox.session
def serve(session: nox.Session) -> None:
    """Run the chat server and the proxy in this terminal, until Ctrl-C; ``-- --help`` for more."""
    said = " ".join([*session.posargs, *map(os.environ.get, ENGINE_VARIABLES, ("", ""))])
    extras = [extra for extra, scheme in SCHEMES.items() if re.search(rf"\b{scheme}://", said)]
    install(session, project=f".[{','.join(extras)}]" if extras else ".")
    # Ctrl-C reaches both processes; the timeouts let them shut down gracefully.
    command = ("python", "-m", "hosting.run_both", *session.posargs)
    session.run(*command, interrupt_timeout=30, terminate_timeout=30)


def run_tests(session: nox.Session, *options: str) -> None:
    """Installs what the tests need, and runs them or a selection."""
    install(session, "tests")
    require_system(session)
    # Most tests wait most of the time, so run more of them than there are processors.
    workers = ["--numprocesses", str((os.cpu_count() or 1) + 2), "--dist", "worksteal"]
    # Workers, and hundreds of servers, import the same modules: compile each once, even where
    # the environment says otherwise, as many images of containers do.
    compiled = {"PYTHONDONTWRITEBYTECODE": ""}
    session.run("pytest", *options, *workers, *session.posargs, env=compiled)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, with a real browser and all; with ``-- -m quick``, in under two minutes."""
    run_tests(session)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests as `tests` does, and report what they cover: takes a third longer."""
    run_tests(session, "--cov", "--cov-report=")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types, the direction of imports, and the schema."""
    install(session, "lint", "tests")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")
    session.run("buf", "lint")


@nox.session
def gen(session: nox.Session) -> None:
    """Generate gen/ and the tables of docs/; with ``-- --check``, fail if they are stale."""
    install(session, "gen")
    session.run("python", "-m", "codec.generate", *session.posargs)
    session.run("python", "-m", "docs.reference", *session.posargs)


@nox.session
def pictures(session: nox.Session) -> None:
    """Take the pictures of the page in docs/images anew: takes half a minute and a Chromium."""
    install(session, "tests")
    session.run("python", "-m", "docs.pictures")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Run the fuzz targets under libFuzzer; with ``-- --seconds N``, for longer."""
    try:
        install(session, "fuzz")
    except nox.command.CommandFailed:
        session.error(
            "atheris could not be installed: it has wheels for some platforms only, "
            "see https://pypi.org/project/atheris/#files"
        )
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Pin the dependencies, with hashes; with ``-- --check``, fail if the pins are stale."""
    install(session, "lock", project="")
    options = [option for option in session.posargs if option != "--check"]
    for name, of_what in LOCKS.items():
        target = Path(session.create_tmp()) / Path(name).name
        # Pins that still satisfy the requirements are kept. `-- --upgrade` moves them.
        shutil.copy(ROOT / name, target)
        session.run(
            "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11",
            "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-header",
            "--output-file", str(target), *options, *of_what,
        )  # fmt: skip
        if "--check" not in session.posargs:
            shutil.copy(target, ROOT / name)
        elif pins(target) != pins(ROOT / name):
            session.error(f"{name} is stale: nox -s lock")


def pins(path: Path) -> list[str]:
    """The versions in a lock file, without hashes: a release may get further files later."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return sorted(line.rstrip("\\ ") for line in lines if line[:1].isalnum())


@nox.session
def audit(session: nox.Session) -> None:
    """Check the pinned versions for known vulnerabilities; needs the internet."""
    install(session, "audit", project="")
    # Strict: a failed look-up is an error too.
    for name in LOCKS:
        session.run(
            "pip-audit", "--strict", "--require-hashes", "--disable-pip", "--requirement", name
        )


@nox.session
def bench(session: nox.Session) -> None:
    """Compare the project with its peers; with ``-- --quick``, in under two minutes."""
    install(session, "bench")
    if shutil.which("npm"):
        install_peers(session)
    else:
        session.warn("there is no Node to compare with: apt-get install --yes nodejs npm")
    session.run("python", "-m", "bench", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Inject faults for a while (``-- --minutes N``), and check that nothing was lost."""
    install(session, "tests")
    session.run("python", "-m", "tests.soak", *session.posargs)


def install_peers(session: nox.Session) -> None:
    """Installs the dependencies of peers in Node; those are left out for which that fails."""
    for peer in ("node", "socket_io"):
        install_peer(session, ROOT / "bench/peers" / peer)


def install_peer(session: nox.Session, folder: Path) -> None:
    """Installs what the lock file of one peer names."""
    lock = (folder / "package-lock.json").read_text(encoding="utf-8")

    def step() -> None:
        with session.chdir(folder):
            session.run("npm", "ci", "--ignore-scripts", external=True, silent=True)

    try:
        once(session, folder / "node_modules/.installed", [lock], step)
    except nox.command.CommandFailed:
        if CI:
            raise
        session.warn(f"npm could not install {folder.name}: without a network it is left out")


def require_system(session: nox.Session) -> None:
    """Installs the system programs of the tests in CI; elsewhere warns about missing ones."""
    missing = [
        package
        for package, commands in SYSTEM.items()
        if not any(shutil.which(command, path=SYSTEM_PATH) for command in commands)
    ]
    if not missing:
        return
    advice = f"apt-get install --yes {' '.join(missing)}"
    if CI and os.geteuid() == 0 and shutil.which("apt-get"):
        session.run("apt-get", "update", "-q", external=True)
        session.run("apt-get", "install", "-q", "--yes", *missing, external=True)
    elif CI:
        session.error(f"the tests need {', '.join(missing)}: {advice}")
    else:
        session.warn(f"some tests will be skipped without {', '.join(missing)}: {advice}")
