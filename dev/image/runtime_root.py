"""``python -m dev.image.runtime_root BASE ROOT FOLDER…``: what the image adds to a base that has no Python.

``BASE`` is the file system of the base. ``ROOT`` gets

- this interpreter;
- the shared libraries of Debian that it and the compiled modules in the folders load, and that the base lacks, with the
  record and the copyright of their packages, so that scanners see them;
- the user, and the loader's cache.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

USER_ID = 10001
_USER = f"stet:x:{USER_ID}:{USER_ID}::/nonexistent:/usr/sbin/nologin\n"
_GROUP = f"stet:x:{USER_ID}:\n"

LEFT_OUT_MODULES = frozenset(
    {"curses", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter", "turtledemo"}
)
"""Packages of Python's standard library: tests, an editor, windows and terminals, an installer."""

LEFT_OUT_FILES = frozenset({"crypt.py", "nis.py", "turtle.py"})
LEFT_OUT_EXTENSIONS = re.compile(
    r"(_ctypes_test|_test\w*|_xx\w*|xx\w*|_tkinter|_curses\w*|_crypt|_dbm|_gdbm|nis|readline)\."
)
"""Compiled modules: tests, and those for which the libraries of windows, terminals, dbm and NIS would be needed."""

_RESOLVED = re.compile(r"^\s*(?P<name>\S+) => (?P<path>/\S+) \(0x", re.MULTILINE)
_MISSING = re.compile(r"^\s*(?P<name>\S+) => not found", re.MULTILINE)
_ELF = b"\x7fELF"


class NotAssembled(Exception):
    """The base does not fit this interpreter, or a library is nowhere."""


@dataclass(frozen=True)
class DebianPackages:
    """The package database below ``root``, as dpkg keeps it."""

    root: Path

    def owner(self, file: Path) -> str:
        """The package that a file is of. Debian moved /lib to /usr/lib; packages may name either."""
        merged = re.sub(r"^/usr(?=/lib)", "", str(file))
        names = {merged, f"/usr{merged}"}
        for listing in sorted((self.root / "var/lib/dpkg/info").glob("*.list")):
            if names.intersection(listing.read_text().splitlines()):
                return listing.stem.partition(":")[0]
        raise NotAssembled(f"{file} is of no package of Debian")

    def record(self, package: str) -> str:
        """The paragraph about a package."""
        for paragraph in (self.root / "var/lib/dpkg/status").read_text().split("\n\n"):
            if paragraph.startswith(f"Package: {package}\n"):
                return paragraph.strip() + "\n"
        raise NotAssembled(f"dpkg has no record of {package}")

    def copyright(self, package: str) -> Path:
        return self.root / "usr/share/doc" / package / "copyright"


def release(root: Path) -> str:
    """Name and release of a system, like ``debian 12``. Raises NotAssembled where it does not say it."""
    for place in ("usr/lib/os-release", "etc/os-release"):
        if (file := root / place).exists():
            lines = (line.partition("=") for line in file.read_text().splitlines())
            fields = {name: value.strip('"') for name, _, value in lines}
            return f"{fields.get('ID', '')} {fields.get('VERSION_ID', '')}".strip()
    raise NotAssembled(f"{root} says in no os-release which system it is")


def libraries_of(listing: str) -> dict[str, Path]:
    """The libraries that ``ldd`` found, by name. Raises NotAssembled for one that it did not find."""
    missing = sorted({found["name"] for found in _MISSING.finditer(listing)})
    if missing:
        raise NotAssembled(f"not found: {', '.join(missing)}")
    return {found["name"]: Path(found["path"]) for found in _RESOLVED.finditer(listing)}


def needed_libraries(folders: Iterable[Path]) -> dict[str, Path]:
    """Every shared library that the programs and compiled modules in these folders load, by name."""
    found: dict[str, Path] = {}
    for file in compiled_files(folders):
        ran = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False)  # noqa: S607
        try:
            found |= libraries_of(ran.stdout)
        except NotAssembled as error:
            raise NotAssembled(f"{file}: {error}") from None
    return found


def compiled_files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.is_symlink() and _is_compiled(file):
                yield file


def _is_compiled(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_ELF)) == _ELF


def lacking(needed: Mapping[str, Path], base: Path, own: Iterable[Path]) -> dict[str, Path]:
    """The needed libraries that are neither in the base nor in one of our own folders."""
    folders = tuple(own)
    there = {file.name for file in base.rglob("*.so*")}
    return {
        name: path
        for name, path in sorted(needed.items())
        if name not in there and not any(path.is_relative_to(folder) for folder in folders)
    }


def copy_python(prefix: Path, target: Path) -> None:
    """The interpreter below ``target``, without what ``LEFT_OUT_…`` name, headers, packages and bytecode."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copytree(prefix / "lib" / version, target / "lib" / version, ignore=_left_out, symlinks=True)
    (target / "lib" / version / "site-packages").mkdir()
    for library in (prefix / "lib").glob("libpython*.so*"):
        shutil.copy2(library, target / "lib" / library.name, follow_symlinks=False)
    (target / "bin").mkdir()
    for name in (version, "python3", "python"):
        shutil.copy2(prefix / "bin" / name, target / "bin" / name, follow_symlinks=False)


def _left_out(folder: str, names: list[str]) -> set[str]:
    """The names in a folder of the standard library that the image leaves out."""
    found = {name for name in names if name in ("__pycache__", "site-packages")}
    if Path(folder).name == "lib-dynload":
        return found | {name for name in names if LEFT_OUT_EXTENSIONS.match(name)}
    if Path(folder).name.startswith("python"):
        found |= {name for name in names if name in LEFT_OUT_MODULES | LEFT_OUT_FILES or name.startswith("config-")}
    return found


def copy_library(name: str, path: Path, packages: DebianPackages, root: Path) -> None:
    """The library, and the record and the copyright of its package."""
    real = path.resolve()
    folder = root / "usr" / Path(re.sub(r"^/(usr/)?", "", str(path.parent)))
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(real, folder / real.name)
    if name != real.name:
        (folder / name).symlink_to(real.name)
    package = packages.owner(real)
    record = root / "var/lib/dpkg/status.d" / package
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(packages.record(package))
    notice = root / "usr/share/doc" / package / "copyright"
    notice.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(packages.copyright(package), notice)


def add_user(base: Path, root: Path) -> None:
    """The accounts of the base and ours; a program may ask for the name of its user."""
    (root / "etc").mkdir(parents=True, exist_ok=True)
    for name, line in (("passwd", _USER), ("group", _GROUP)):
        known = base / "etc" / name
        (root / "etc" / name).write_text((known.read_text() if known.exists() else "") + line)


def main(base: Path, root: Path, folders: list[Path]) -> int:
    here, there = release(Path("/")), release(base)
    if here != there:
        raise NotAssembled(f"BASE is {here} and RUNTIME_BASE is {there}: their libraries do not fit each other")
    prefix = Path(sys.base_prefix)
    copied = root / prefix.relative_to("/")
    copy_python(prefix, copied)
    add_user(base, root)
    packages = DebianPackages(Path("/"))
    own = (prefix, root, *folders)
    for name, path in lacking(needed_libraries((copied, *folders)), base, own).items():
        copy_library(name, path, packages, root)
        print(f"runtime_root: {name} of {packages.owner(path.resolve())}", file=sys.stderr)
    subprocess.run(["ldconfig", "-r", str(root), str(Path("/") / prefix.relative_to("/") / "lib")], check=True)  # noqa: S607
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(each) for each in sys.argv[3:]]))
