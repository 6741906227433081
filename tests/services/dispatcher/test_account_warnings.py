"""Meta's warnings to an account are logged once the transaction has committed, and only those to our accounts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from structlog import get_logger
from structlog.testing import capture_logs

from services.dispatcher import handlers
from services.dispatcher.handlers import DispatcherHandler
from shared.contracts.whatsapp import AccountReported
from tests.services.dispatcher.builders import NOON


@dataclass
class Committing:
    """A transaction of which only what follows the commit is of interest."""

    connection: object = None
    now: object = NOON
    acts: list[Callable[[], None]] = field(default_factory=list)

    def on_commit(self, act: Callable[[], None]) -> None:
        self.acts.append(act)


@dataclass
class Told:
    event: Any


@pytest.mark.parametrize(("ours", "logged"), [(None, 1), (("1",), 1), (("2",), 0)])
async def test_a_warning_is_logged_after_the_commit(
    monkeypatch: pytest.MonkeyPatch, ours: tuple[str, ...] | None, logged: int
) -> None:
    value = {"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": "SCAM"}}
    report = AccountReported(account="1", field="account_update", value=value, at=NOON)
    none = cast("Any", None)
    handler, tx = DispatcherHandler(none, none, none, none, none, none, ours), Committing()
    received = cast("Any", Told(type("E", (), {"data": report, "id": "e"})()))
    with capture_logs() as logs:
        monkeypatch.setattr(handlers, "log", get_logger())
        await handler.handle(cast("Any", tx), [received])
        assert logs == []
        for act in tx.acts:
            act()
    assert [(one["event"], one["warning"]) for one in logs] == [("account.warned", "ACCOUNT_VIOLATION SCAM")] * logged
