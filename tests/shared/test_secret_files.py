"""A secret that changes in a running process is noticed; its content is never told."""

from pathlib import Path

from structlog.testing import capture_logs

from shared.runtime.secret_files import SecretFilesWatch


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


async def test_a_secret_that_is_as_it_was_again_asks_for_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "STET_CONSONANCE_KEY"
    secret.write_text("old")
    watch = SecretFilesWatch(tmp_path, [])
    secret.write_text("new")
    await watch.check()
    secret.write_text("old")
    await watch.check()
    assert await watch.detail() == ""
