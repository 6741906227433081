"""``python -m dev.image.bytecode CODE STANDARD_LIBRARY``: compiles what the services and the commands import.

Every module of ours in ``CODE`` is imported, and what its functions import when a setting asks for it; what that loads
of the installed packages and of Python is compiled, the latter into the copy of it in ``STANDARD_LIBRARY``, and
``LATER`` with it. The rest of the packages has its source
alone, which Python compiles whenever it is imported. Bytecode is never compared with its source, so it is equal
wherever it is built. It has no docstrings and no asserts, as with ``python -OO``: a process keeps those of a thousand
modules in memory, and nothing of ours reads them. Our own modules are compiled with theirs, which the commands show.
"""

import ast
import importlib
import pkgutil
import py_compile
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.util import cache_from_source
from pathlib import Path

OURS = ("shared", "services", "ops")
LATER = (
    "dateutil/**/*.py",
    "filetype/**/*.py",
    "holidays/**/*.py",
    "phonenumbers/**/*.py",
    "pydantic/_internal/*.py",
    "pygments/*.py",
    "pygments/*/_*.py",
    "rich/**/*.py",
    "structlog/**/*.py",
    "typer/**/*.py",
    "tzdata/__init__.py",
)
"""Modules of installed packages that are imported when they are first needed: a country, a table, a traceback."""

LATER_OF_PYTHON = ("encodings/*.py", "importlib/**/*.py")

WITHOUT = frozenset({"typst"})
"""Packages that modules of ours need and that the image leaves out (pyproject.toml)."""

_SCRIPTS = ("__main__", "verify")
"""Modules that act when they are imported: they are programs."""


class NotCompiled(Exception):
    """A module is loaded, and the image does not have it."""


def import_ours() -> list[str]:
    """Import every module of our packages; returns those that need a package of ``WITHOUT``.

    Raises ModuleNotFoundError where another package is missing.
    """
    left = []
    for name in OURS:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if found.name.rpartition(".")[2] in _SCRIPTS:
                continue
            try:
                importlib.import_module(found.name)
            except ModuleNotFoundError as error:
                if error.name not in WITHOUT:
                    raise
                left.append(found.name)
    return left


def import_within_functions() -> None:
    """Import what functions of our loaded modules import: the exporter of traces, the client of a file store."""
    ours = [module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] in OURS]
    for name in sorted({name for file in ours if file for name in _names_within_functions(Path(file).read_text())}):
        if name.partition(".")[0] not in WITHOUT:
            importlib.import_module(name)


def _names_within_functions(source: str) -> Iterator[str]:
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom) and node.module is not None:
                    yield node.module
                elif isinstance(node, ast.Import):
                    yield from (alias.name for alias in node.names)


def loaded_files() -> set[Path]:
    """The source files and compiled modules that are loaded."""
    files = (getattr(module, "__file__", None) for module in sys.modules.values())
    return {Path(file) for file in files if file is not None}


def matching(folder: Path, patterns: Iterable[str]) -> set[Path]:
    """Raises NotCompiled for a pattern of which there is no file."""
    found: set[Path] = set()
    for pattern in patterns:
        files = set(folder.glob(pattern))
        if not files:
            raise NotCompiled(f"{folder} has no {pattern}")
        found |= files
    return found


_WITHOUT_DOCSTRINGS = 2  # py_compile's level of optimization


def compile_source(source: Path, shown: Path) -> None:
    """Compile ``source`` beside itself, where a process without options finds it; tracebacks name it ``shown``."""
    py_compile.compile(
        str(source),
        cfile=cache_from_source(source, optimization=""),
        dfile=str(shown),
        doraise=True,
        optimize=_WITHOUT_DOCSTRINGS,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def main(code: Path, standard_library: Path) -> int:
    for name in import_ours():
        print(f"bytecode: {name} is for another image", file=sys.stderr)
    import_within_functions()
    installed, of_python = Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("stdlib"))
    ours = (code, Path(__file__).parents[2])
    files = loaded_files() | matching(installed, LATER) | matching(of_python, LATER_OF_PYTHON)
    for file in sorted(files):
        if file.is_relative_to(installed):
            copy = file
        elif file.is_relative_to(of_python):
            copy = standard_library / file.relative_to(of_python)
        elif any(file.is_relative_to(folder) for folder in ours):
            continue
        else:
            raise NotCompiled(f"{file} is loaded, and is neither ours, nor installed, nor Python's")
        if not copy.exists():
            raise NotCompiled(f"{file} is loaded, and {standard_library} does not have it")
        if file.suffix == ".py":
            compile_source(copy, file)
    print(f"bytecode: {len(files)} modules", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
