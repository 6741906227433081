"""Programs from wheels and from Debian's packages."""

from pathlib import Path

import pytest

from dev import tools
from shared.contracts.errors import Misconfigured


def test_kustomize_comes_with_the_wheel_of_kubectl() -> None:
    manifests = tools.kustomize(Path(__file__).parents[2] / "deploy/k8s/base")
    assert "kind: StatefulSet" in manifests


def test_a_program_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(Misconfigured, match="no program helm, only kubectl, prometheus, promtool"):
        tools.program("helm")


def test_a_package_fetched_earlier_is_used_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    promtool = tmp_path / "prometheus/2.42.0/usr/bin/promtool"
    draft = tmp_path / "prometheus/.2.43.0.17/usr/bin/promtool"
    for path in (promtool, draft):
        path.parent.mkdir(parents=True)
        path.touch()
    assert tools.program("promtool", tmp_path) == promtool


def test_without_debians_tools_the_error_names_the_first_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Misconfigured, match="prometheus is fetched from Debian, and apt-get is missing here"):
        tools.program("promtool", tmp_path)


def test_a_file_that_is_not_the_one_of_the_signed_list_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "prometheus.deb"
    archive.write_bytes(b"something else")
    with pytest.raises(Misconfigured, match=r"prometheus.deb has the SHA-256 [0-9a-f]{64}, not 0{64}"):
        tools.check_digest(archive, "0" * 64)


def test_the_second_of_two_that_fetch_at_once_uses_what_the_first_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "_run", lambda *_: "")
    folder = tmp_path / "2.42.0"
    (folder / "usr").mkdir(parents=True)
    assert tools._unpack(tmp_path / "a.deb", folder) == folder
    assert [path.name for path in tmp_path.iterdir()] == ["2.42.0"]
