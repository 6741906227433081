"""Rule files arrive from folders that change under one, and from bundles whose digest is checked."""

import asyncio
import hashlib
import io
import shutil
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from services.rules.rollout.bundles import BundleSource, unpack_bundle
from services.rules.rollout.sources import FolderSource, SourceContent
from services.rules.rulebook import rule_folder
from services.rules.rulebook.validation import validate, validate_folder
from shared.contracts.errors import Unavailable
from tests.services.rules.rulebooks import BOOK

COMMIT = "4f0c2d1e" * 5
OTHER = "5a1b3c2d" * 5


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder as git-sync leaves it: a commit in a folder of its name, and a link to it."""
    shutil.copytree(BOOK, tmp_path / COMMIT)
    (tmp_path / "current").symlink_to(COMMIT)
    return tmp_path


def read(source: FolderSource) -> SourceContent:
    content = source.read_now()
    assert content is not None
    return content


def test_a_link_that_is_turned_to_the_next_commit_is_a_new_revision(checkout: Path) -> None:
    source = FolderSource(checkout / "current")
    first = read(source)
    shutil.copytree(BOOK, checkout / OTHER)
    change(checkout / OTHER / "house.yaml")
    (checkout / "next").symlink_to(OTHER)
    (checkout / "next").replace(checkout / "current")
    assert source.read_now() is None, "it must stand still for one look"
    second = read(source)
    assert (first.commit, second.commit) == (COMMIT, OTHER)
    assert first.revision != second.revision
    assert source.read_now() is None


def test_a_volume_of_a_config_map_is_read_through_its_link(tmp_path: Path) -> None:
    for name in ("..1", "..2"):
        (tmp_path / name).mkdir()
        shutil.copy(BOOK / "house.yaml", tmp_path / name)
    change(tmp_path / "..2" / "house.yaml")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "house.yaml").symlink_to("..data/house.yaml")
    source = FolderSource(tmp_path)
    first = read(source)
    (tmp_path / "..next").symlink_to("..2")
    (tmp_path / "..next").replace(tmp_path / "..data")
    assert source.read_now() is None
    assert read(source).revision != first.revision


def test_a_file_that_is_still_being_written_is_not_read(checkout: Path) -> None:
    source = FolderSource(checkout / "current")
    read(source)
    for _ in range(3):
        change(checkout / COMMIT / "house.yaml")
        assert source.read_now() is None
    assert read(source).files["house.yaml"].count("# changed") == 3


def test_a_folder_that_is_gone_is_said(checkout: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        FolderSource(checkout / "nowhere").read_now()


def change(file: Path) -> None:
    file.write_text(file.read_text() + "# changed\n")


# ------------------------------------------------------------------ bundles


def bundle(folder: Path = BOOK, comment: str = "") -> bytes:
    raw = io.BytesIO()
    headers = {"comment": comment} if comment else {}
    with tarfile.open(fileobj=raw, mode="w:gz", format=tarfile.PAX_FORMAT, pax_headers=headers) as archive:
        archive.add(folder, arcname=".")
    return raw.getvalue()


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


@asynccontextmanager
async def serving(answers: Mapping[str, bytes]) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        raw = answers.get(request.path)
        return web.Response(status=404) if raw is None else web.Response(body=raw)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_bundle_is_fetched_when_the_digest_beside_it_changes() -> None:
    raw = bundle(comment=COMMIT)
    answers = {"/rules.tar.gz": raw, "/rules.tar.gz.sha256": f"{sha256(raw)}  rules.tar.gz\n".encode()}
    async with serving(answers) as address:
        source = BundleSource(f"http://{address}/rules.tar.gz")
        content = await source.read()
        assert content is not None
        assert not validate(content.files).faults
        assert (content.revision, content.commit) == (read(FolderSource(BOOK)).revision, COMMIT)
        assert await source.read() is None
        answers["/rules.tar.gz"] = bundle(BOOK / "rights")
        answers["/rules.tar.gz.sha256"] = sha256(answers["/rules.tar.gz"]).encode()
        assert (await source.read() or content).revision != content.revision


async def test_a_bundle_with_another_digest_is_never_used() -> None:
    async with serving({"/rules.tar.gz": bundle()}) as address:
        with pytest.raises(Unavailable, match="SHA-256"):
            await BundleSource(f"http://{address}/rules.tar.gz#sha256={'0' * 64}").read()


async def test_an_artifact_of_a_registry_is_read_by_its_first_layer() -> None:
    raw = bundle()
    manifest = {
        "layers": [{"digest": f"sha256:{sha256(raw)}"}],
        "annotations": {"org.opencontainers.image.revision": OTHER},
    }
    answers = {
        "/v2/stet/rules/manifests/live": orjson.dumps(manifest),
        f"/v2/stet/rules/blobs/sha256:{sha256(raw)}": raw,
    }
    async with serving(answers) as address:
        source = BundleSource(f"oci://{address}/stet/rules:live")
        content = await source.read()
        assert content is not None
        assert content.commit == OTHER
        assert await source.read() is None
        answers[f"/v2/stet/rules/manifests/sha256:{'0' * 64}"] = orjson.dumps(manifest)
        with pytest.raises(Unavailable, match="SHA-256"):
            await BundleSource(f"oci://{address}/stet/rules@sha256:{'0' * 64}").read()


async def test_bytes_that_are_no_archive_are_refused_with_a_sentence() -> None:
    content = await asyncio.to_thread(unpack_bundle, b"no archive", None)
    assert "no tar archive" in str(content.faults[0])


def test_a_folder_far_above_the_rules_is_refused_by_its_names_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(201):
        tmp_path.joinpath(f"{number}.yaml").write_text("a: 1\n", "utf-8")
    opened: list[Path] = []
    monkeypatch.setattr(rule_folder, "_read_text", lambda path, *_: opened.append(path))
    content = read(FolderSource(tmp_path))
    validation, _ = validate_folder(tmp_path)
    sentence = "of the 201 YAML files in it and below, none is called people.yaml; name the folder that has house.yaml"
    for faults in (content.faults, validation.faults):
        assert [sentence in str(fault) for fault in faults] == [True]
    assert opened == []
