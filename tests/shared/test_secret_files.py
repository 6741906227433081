"""A secret that changes in a running process is noticed; its content is never told."""

import asyncio
import time
from pathlib import Path

from structlog.testing import capture_logs

from shared.runtime.credentials import SecretFilesWatch, SecretRestart


async def test_a_changed_secret_or_certificate_is_named_once_and_asks_for_a_restart(tmp_path: Path) -> None:
    secrets, certificate = tmp_path / "secrets", tmp_path / "user.crt"
    (secrets / "..data").mkdir(parents=True)
    (secrets / "STET_CONSONANCE_KEY").write_text("old")
    certificate.write_text("first")
    watch = SecretFilesWatch(secrets, [certificate])
    with capture_logs() as logs:
        await watch.check()
        assert (logs, await watch.detail()) == ([], "")
        (secrets / "STET_CONSONANCE_KEY").write_text("new")
        certificate.unlink()
        await watch.check()
        await watch.check()
    assert [(line["event"], line["name"]) for line in logs] == [
        ("secret.changed", "STET_CONSONANCE_KEY"), ("secret.changed", "user.crt"),
    ]  # fmt: skip
    assert await watch.detail() == "STET_CONSONANCE_KEY, user.crt: changed since the start; restart this service"


async def test_each_replica_draws_the_moment_of_its_restart(tmp_path: Path) -> None:
    (tmp_path / "STET_CONSONANCE_KEY").write_text("old")
    ended: list[float] = []
    began = time.monotonic()
    end = lambda: ended.append(time.monotonic() - began)  # noqa: E731 -- a callback
    watches = [SecretFilesWatch(tmp_path, [], SecretRestart(0.5, lambda: None, end)) for _ in range(8)]
    tasks = [asyncio.create_task(watch.run()) for watch in watches]
    (tmp_path / "STET_CONSONANCE_KEY").write_text("new")
    while len(ended) < len(watches):
        await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    assert max(ended) - min(ended) > 0.05


async def test_a_secret_that_is_as_it_was_again_asks_for_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "STET_CONSONANCE_KEY"
    secret.write_text("old")
    watch = SecretFilesWatch(tmp_path, [])
    secret.write_text("new")
    await watch.check()
    secret.write_text("old")
    await watch.check()
    assert await watch.detail() == ""
