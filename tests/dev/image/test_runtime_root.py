"""The parts that are copied beside a base without Python: the interpreter, libraries and the user."""

import sys
from pathlib import Path

import pytest

from dev.image.runtime_root import (
    DebianPackages,
    NotAssembled,
    add_user,
    copy_library,
    copy_python,
    lacking,
    libraries_of,
    release,
)

LDD = """\
\tlinux-vdso.so.1 (0x00007ffc)
\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f1)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f2)
\tlibcurl-3.so.4 => /opt/venv/pycurl.libs/libcurl-3.so.4 (0x00007f3)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f4)
"""
ZLIB = "Package: zlib1g\nStatus: install ok installed\nVersion: 1:1.2.13.dfsg-1\n"


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


@pytest.fixture
def debian(tmp_path: Path) -> DebianPackages:
    """A system that has merged /lib into /usr/lib, and a package that names the former."""
    root = files(tmp_path / "debian", "usr/share/doc/zlib1g/copyright")
    files(root, "var/lib/dpkg/info/zlib1g:amd64.list", "var/lib/dpkg/status")
    (root / "var/lib/dpkg/info/zlib1g:amd64.list").write_text("/.\n/lib/x86_64-linux-gnu/libz.so.1.2.13\n")
    (root / "var/lib/dpkg/status").write_text(f"Package: zlib1g-dev\nVersion: 2\n\n{ZLIB}\nPackage: zstd\n")
    return DebianPackages(root)


def test_the_libraries_of_a_module_are_those_that_the_loader_finds() -> None:
    assert sorted(libraries_of(LDD)) == ["libc.so.6", "libcurl-3.so.4", "libz.so.1"]


def test_a_library_that_is_nowhere_ends_the_build_by_its_name() -> None:
    with pytest.raises(NotAssembled, match="not found: libtcl8"):
        libraries_of("\tlibtcl8.6.so => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x1)\n")


def test_only_what_neither_the_base_nor_a_wheel_has_is_copied(tmp_path: Path) -> None:
    base = files(tmp_path, "lib/x86_64-linux-gnu/libc.so.6")
    assert list(lacking(libraries_of(LDD), base, [Path("/opt/venv")])) == ["libz.so.1"]


def test_a_package_is_found_by_either_name_of_a_merged_folder(debian: DebianPackages) -> None:
    assert debian.owner(Path("/usr/lib/x86_64-linux-gnu/libz.so.1.2.13")) == "zlib1g"
    assert debian.owner(Path("/lib/x86_64-linux-gnu/libz.so.1.2.13")) == "zlib1g"
    with pytest.raises(NotAssembled, match=r"libq\.so is of no package"):
        debian.owner(Path("/usr/lib/libq.so"))


def test_a_copied_library_brings_the_record_and_the_copyright_of_its_package(
    debian: DebianPackages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = files(tmp_path / "there", "libz.so.1.2.13")
    (there / "libz.so.1").symlink_to("libz.so.1.2.13")
    monkeypatch.setattr(DebianPackages, "owner", lambda *_: "zlib1g")
    copy_library("libz.so.1", there / "libz.so.1", debian, tmp_path / "root")
    root = tmp_path / "root"
    (copied,) = root.rglob("libz.so.1")
    assert copied.is_symlink()
    assert copied.read_text() == "libz.so.1.2.13"
    assert (root / "var/lib/dpkg/status.d/zlib1g").read_text() == ZLIB
    assert (root / "usr/share/doc/zlib1g/copyright").exists()


def test_the_interpreter_comes_without_tests_installers_and_headers(tmp_path: Path) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefix = files(
        tmp_path / "prefix",
        *(f"bin/{version}", f"lib/{version}/json/__init__.py", f"lib/{version}/json/test.py", "include/Python.h"),
        *(f"lib/{version}/{name}/__init__.py" for name in ("test", "idlelib", "ensurepip", "site-packages/pip")),
        *(f"lib/{version}/lib-dynload/{name}.cpython.so" for name in ("_ssl", "_tkinter", "_testcapi", "_sqlite3")),
        f"lib/{version}/__pycache__/os.pyc",
        f"lib/libpython{version[6:]}.so.1.0",
    )
    (prefix / "bin/python3").symlink_to(version)
    (prefix / "bin/python").symlink_to("python3")
    copy_python(prefix, tmp_path / "target")
    copied = {path.relative_to(tmp_path / "target").as_posix() for path in (tmp_path / "target").rglob("*.*")}
    assert {name for name in copied if name.endswith((".py", ".pyc", ".so", ".h", ".0"))} == {
        f"lib/{version}/json/__init__.py",
        f"lib/{version}/json/test.py",
        f"lib/{version}/lib-dynload/_ssl.cpython.so",
        f"lib/{version}/lib-dynload/_sqlite3.cpython.so",
        f"lib/libpython{version[6:]}.so.1.0",
    }
    assert (tmp_path / "target/bin/python").resolve().name == version


def test_the_system_of_a_base_is_read_from_its_os_release(tmp_path: Path) -> None:
    files(tmp_path, "usr/lib/os-release")
    (tmp_path / "usr/lib/os-release").write_text('NAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n')
    assert release(tmp_path) == "debian 12"
    with pytest.raises(NotAssembled, match="in no os-release"):
        release(tmp_path / "usr")


def test_the_user_is_added_to_those_of_the_base(tmp_path: Path) -> None:
    base = files(tmp_path / "base", "etc/passwd")
    (base / "etc/passwd").write_text("root:x:0:0:root:/root:/sbin/nologin\n")
    add_user(base, tmp_path / "root")
    accounts = (tmp_path / "root/etc/passwd").read_text().splitlines()
    assert [line.split(":")[:3] for line in accounts] == [["root", "x", "0"], ["stet", "x", "10001"]]
    assert (tmp_path / "root/etc/group").read_text() == "stet:x:10001:\n"
