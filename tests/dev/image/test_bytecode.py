"""Modules that an image without Typst can import, and how they are compiled."""

import subprocess
import sys
from pathlib import Path

import pytest

from dev.image.bytecode import NotCompiled, compile_source, matching

_ROOT = Path(__file__).parents[3]


def run(script: str) -> subprocess.CompletedProcess[str]:
    without = f"import sys; sys.modules['typst'] = None; {script}"
    return subprocess.run(  # noqa: S603 -- this interpreter, with a script of this file
        [sys.executable, "-c", without], cwd=_ROOT, capture_output=True, text=True, check=False
    )


def test_without_typst_only_the_modules_that_typeset_cannot_be_imported() -> None:
    ran = run("from dev.image.bytecode import import_ours; print(*import_ours())")
    assert ran.stdout.split() == ["ops.evidence.export", "ops.evidence.pdf"], ran.stderr


def test_modules_that_a_setting_turns_on_are_compiled_too() -> None:
    """Else every start with a collector compiles the exporter of traces, in each process."""
    ran = run(
        "from dev.image.bytecode import import_ours, import_within_functions, loaded_files; import_ours();"
        "import_within_functions(); print(*loaded_files())"
    )
    for module in ("opentelemetry/exporter/otlp/proto/http/trace_exporter", "opentelemetry/sdk/trace"):
        assert f"/{module}/__init__.py" in ran.stdout, ran.stderr


def test_bytecode_is_not_compared_with_its_source_and_names_the_place_where_it_will_be(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("def name(): pass\n")
    compile_source(source, Path("/usr/local/lib/module.py"))
    (compiled,) = tmp_path.rglob("*.pyc")
    content = compiled.read_bytes()
    assert int.from_bytes(content[4:8], "little") == 1  # PEP 552: by hash, unchecked
    assert b"/usr/local/lib/module.py" in content


def test_the_bytecode_that_a_process_without_options_loads_keeps_no_docstrings_and_no_asserts(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        '"""Of the module."""\ndef name():\n    """Of the function."""\n    assert False\n'
    )
    compile_source(tmp_path / "module.py", tmp_path / "module.py")
    code = "import module; print(module.__doc__, module.name.__doc__, module.name(), module.__spec__.cached)"
    ran = subprocess.run(  # noqa: S603 -- this interpreter, with a script of this file
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    (compiled,) = tmp_path.rglob("*.pyc")
    assert ran.stdout.split() == ["None", "None", "None", str(compiled)]


def test_a_package_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotCompiled, match=r"has no rich/\*\.py"):
        matching(tmp_path, ["rich/*.py"])
