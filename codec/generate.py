"""Generates `gen/` from `proto/`: `python -m codec.generate`, with `--check` to only compare."""

import subprocess
import sys
import tempfile
from pathlib import Path

import click
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from .compiler.classes import plain_classes
from .compiler.module import render
from .compiler.schema import Module, SchemaError, read_modules

DESCRIPTORS = "descriptor.binpb"
"""The file with protoc's descriptors of the schema and its imports."""


def generate(proto: Path) -> dict[str, bytes]:
    """Returns the content of each file of `gen/`, by its path in there.

    Args:
        proto: The directory of the schema's files.

    Raises:
        SchemaError: protoc rejects the schema, or the codec does not support it.
    """
    sources = sorted(path.relative_to(proto).as_posix() for path in proto.rglob("*.proto"))
    files = run_protoc(proto, sources)
    for module in _modules(files[DESCRIPTORS], sources):
        path = module.package.replace(".", "/")
        classes = f"{path}/__init__.py"
        files[classes] = plain_classes(files[classes].decode(), module).encode()
        files[f"{path}_codec.py"] = render(module).encode()
    return {**files, "py.typed": b""}


def run_protoc(proto: Path, sources: list[str]) -> dict[str, bytes]:
    """Returns the output of betterproto's compiler, and the schema's descriptors.

    Raises:
        SchemaError: protoc rejects the schema.
    """
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        _protoc(proto, sources, out)
        return _read(out)


def _protoc(proto: Path, sources: list[str], out: Path) -> None:
    plugin = Path(sys.executable).with_name("protoc-gen-python_betterproto")
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc"),
        f"--proto_path={proto.resolve()}",
        f"--plugin={plugin}",
        f"--python_betterproto_out={out}",
        f"--descriptor_set_out={out / DESCRIPTORS}",
        "--include_imports",
        *sources,
    ]
    # The plugin omits an __init__.py that exists in the current directory.
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise SchemaError(done.stderr.strip())


def _modules(descriptors: bytes, sources: list[str]) -> list[Module]:
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(descriptors).file:
        if file.name in sources and file.syntax != "proto3":
            raise SchemaError(f"{file.name}: only proto3 is supported")
        pool.Add(file)
    return read_modules(pool.FindFileByName(name) for name in sources)


def _read(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }


def stale(directory: Path, files: dict[str, bytes]) -> list[str]:
    """Returns the files of a directory that are missing, different or superfluous."""
    present = _read(directory)
    return sorted(name for name in {*present, *files} if present.get(name) != files.get(name))


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail and list what differs.")
@click.option(
    "--proto",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default="proto",
    show_default=True,
    help="The directory of the schema.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="gen",
    show_default=True,
    help="The directory to generate.",
)
def main(check: bool, proto: Path, out: Path) -> None:
    """Generates the dataclasses and their codec from the schema."""
    try:
        files = generate(proto)
    except SchemaError as error:
        raise click.ClickException(str(error)) from error
    if not check:
        for name, content in files.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    differing = stale(out, files)
    for name in differing:
        click.echo(f"{out / name}: {'differs' if name in files else 'is not generated'}", err=True)
    if differing:
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    main()
