"""The generator: its output, and its refusals."""

import sys
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from codec.generate import generate, main

ROOT = Path(__file__).parents[2]


def schema(directory: Path, body: str, head: str = 'syntax = "proto3"; package a;') -> Path:
    proto = directory / "proto"
    proto.mkdir()
    (proto / "a.proto").write_text(f"{head}\n{body}")
    return proto


def test_check_accepts_generated_files(tmp_path: Path) -> None:
    proto, out = schema(tmp_path, "message M { string id = 1; }"), tmp_path / "out"
    arguments = ["--proto", str(proto), "--out", str(out)]
    check = CliRunner().invoke(main, [*arguments, "--check"])
    assert check.exit_code == 1
    assert "a_codec.py: differs" in check.output
    assert not out.exists()
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert CliRunner().invoke(main, [*arguments, "--check"]).exit_code == 0
    (out / "py.typed").unlink()
    (out / "old.py").write_text("")
    check = CliRunner().invoke(main, [*arguments, "--check"])
    assert check.exit_code == 1
    assert check.output.splitlines() == [
        f"{out / 'old.py'}: is not generated",
        f"{out / 'py.typed'}: differs",
    ]


def test_generation_is_deterministic(tmp_path: Path) -> None:
    proto = schema(tmp_path, "message M { map<string, M> m = 1; oneof o { M n = 2; } }")
    assert generate(proto) == generate(proto)


def test_packages_and_files_are_mapped(tmp_path: Path) -> None:
    proto = schema(tmp_path, "message M { string id = 1; }", 'syntax = "proto3"; package a.b;')
    (proto / "b.proto").write_text(
        'syntax = "proto3"; package a.b; import "a.proto"; message N { M m = 1; }'
    )
    files = generate(proto)
    assert {"a/b/__init__.py", "a/b_codec.py"} <= files.keys()
    source = files["a/b_codec.py"].decode()
    assert "def decode_m(" in source
    assert "def decode_n(" in source
    compile(source, "a/b_codec.py", "exec")


def test_deprecated_field_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proto = tmp_path / "proto"
    proto.mkdir()
    (proto / "old.proto").write_text(
        'syntax = "proto3"; package fading; message M { string id = 1 [deprecated = true]; }'
    )
    for name, content in generate(proto).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    message = import_module("fading").M
    with pytest.warns(DeprecationWarning, match="M.id is deprecated"):
        assert message(id="x").id == "x"
    assert message().id == ""


@pytest.mark.parametrize(
    ("body", "head", "message"),
    [
        ("message M { string id = 1", 'syntax = "proto3"; package a;', "a.proto:2"),
        ("message M {}", 'syntax = "proto3";', "a.proto: needs a package"),
        (
            "message M { optional string id = 1; }",
            'syntax = "proto2"; package a;',
            "a.proto: only proto3 is supported",
        ),
        (
            "message M { google.protobuf.StringValue v = 1; }",
            'syntax = "proto3"; package a; import "google/protobuf/wrappers.proto";',
            "a.M.v: type google.protobuf.StringValue is not supported",
        ),
        (
            "message M { map<string, google.protobuf.Any> v = 1; }",
            'syntax = "proto3"; package a; import "google/protobuf/any.proto";',
            "a.M.VEntry.value: type google.protobuf.Any is not supported",
        ),
        (
            "message M { google.protobuf.NullValue v = 1; }",
            'syntax = "proto3"; package a; import "google/protobuf/struct.proto";',
            "a.M.v: type google.protobuf.NullValue is not supported",
        ),
        (
            "message A { message B {} } message AB {}",
            'syntax = "proto3"; package a;',
            "package a: names clash in Python: decode_ab",
        ),
        (
            "message M { M one = 1; string held_one = 2; }",
            'syntax = "proto3"; package a;',
            "M.held_one: what is held of another field is named so",
        ),
        (
            "message M { oneof parse { string id = 1; } }",
            'syntax = "proto3"; package a;',
            "M.parse: a oneof cannot have this name in Python",
        ),
        ("message Any {}", 'syntax = "proto3"; package a;', "names clash in Python: Any"),
    ],
)
def test_unsupported_feature_is_refused(tmp_path: Path, body: str, head: str, message: str) -> None:
    proto = schema(tmp_path, body, head)
    result = CliRunner().invoke(main, ["--proto", str(proto), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "out").exists()


def test_plugin_is_of_this_environment() -> None:
    assert Path(sys.executable).with_name("protoc-gen-python_betterproto").exists()
