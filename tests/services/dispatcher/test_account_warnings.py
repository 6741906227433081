"""Meta's warnings to an account are logged once the transaction has committed, and only those to our accounts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest
from structlog import get_logger
from structlog.testing import capture_logs

from services.dispatcher import handlers
from services.dispatcher.account_limits import LimitKind, LimitReport
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


@dataclass
class Kept:
    """Stands for the store of what Meta reports of accounts."""

    limits: list[LimitReport] = field(default_factory=list)

    async def save_limits(self, _: object, account: str, at: object, limits: Sequence[LimitReport]) -> None:
        assert (account, at) == ("1", NOON)
        self.limits += limits


@pytest.mark.parametrize(("ours", "logged"), [(None, 1), (("1",), 1), (("2",), 0)])
async def test_a_warning_is_kept_and_logged_after_the_commit(
    monkeypatch: pytest.MonkeyPatch, ours: tuple[str, ...] | None, logged: int
) -> None:
    value = {"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": "SCAM"}}
    report = AccountReported(account="1", field="account_update", value=value, at=NOON)
    none = cast("Any", None)
    kept = Kept()
    handler, tx = DispatcherHandler(none, none, none, none, cast("Any", kept), none, ours), Committing()
    received = cast("Any", Told(type("E", (), {"data": report, "id": "e"})()))
    with capture_logs() as logs:
        monkeypatch.setattr(handlers, "log", get_logger())
        await handler.handle(cast("Any", tx), [received])
        assert logs == []
        for act in tx.acts:
            act()
    assert [(one["event"], one["warning"]) for one in logs] == [("account.warned", "ACCOUNT_VIOLATION SCAM")] * logged
    warning = LimitReport(LimitKind.WARNING, "ACCOUNT_VIOLATION SCAM", 1, NOON + timedelta(days=7))
    assert kept.limits == [warning] * logged
