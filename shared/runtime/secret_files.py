"""Notices that a file of secrets or certificates changed after the start, and ends the process where that is wanted.

Kubernetes replaces the files of a Secret in a running pod. A service reads them once, at its start, so a changed file
counts after a restart. With the setting for it, the process ends like on SIGTERM once the new files are seen to be
usable, and the kubelet starts it again. Replicas draw their moments, so that they do not end together.
"""

import asyncio
import hashlib
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.contracts.errors import Misconfigured
from shared.runtime.telemetry import get_logger

_CHECK_SECONDS = 20.0

log = get_logger()


@dataclass(frozen=True, slots=True)
class SecretRestart:
    """``within``: the seconds from which the moment is drawn. ``read`` reads the settings, or raises Misconfigured."""

    within: float
    read: Callable[[], object]
    end: Callable[[], None]


class SecretFilesWatch:
    """``files`` were read at the start; in ``folder`` every file counts. Without ``restart`` a person has to act."""

    def __init__(self, folder: Path | None, files: Iterable[Path], restart: SecretRestart | None = None) -> None:
        self._folder = folder
        self._files = tuple(files)
        self._restart = restart
        self._seconds = _CHECK_SECONDS if restart is None else min(_CHECK_SECONDS, restart.within)
        self._first = self._digests()
        self._changed: frozenset[str] = frozenset()
        self._refused: dict[str, bytes] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await self.check()
            if self._changed and self._restart is not None:
                await self._end_when_due(self._restart)

    async def check(self) -> None:
        """Log what changed since the last check. A file that is again as it was at the start counts as unchanged."""
        changed = _differences(self._first, await asyncio.to_thread(self._digests))
        for name in sorted(changed - self._changed):
            hint = "restart this service" if self._restart is None else "it restarts by itself"
            log.warning("secret.changed", name=name, hint=hint)
        self._changed = changed

    async def detail(self) -> str:
        """A detail of readiness: the files whose content changed since it was read; empty where there are none."""
        names = ", ".join(sorted(self._changed))
        if self._refused:
            return f"{names}: changed since the start, and not usable: the log says why (restart.refused)"
        return f"{names}: changed since the start; restart this service" if names else ""

    async def _end_when_due(self, restart: SecretRestart) -> None:
        """End the process at a moment of its own, unless the files are as before by then, or cannot be used."""
        now = await asyncio.to_thread(self._digests)
        if now == self._refused:
            return
        seconds = random.uniform(0, restart.within)
        log.info("restart.scheduled", seconds=round(seconds, 1))
        await asyncio.sleep(seconds)
        await self.check()
        if not self._changed:
            return
        now = await asyncio.to_thread(self._digests)
        try:
            await asyncio.to_thread(restart.read)
        except Misconfigured as fault:
            self._refused = now
            log.warning("restart.refused", fault=str(fault), hint="correct the Secret; the former files stay in use")
            return
        log.warning("restart.started", name=", ".join(sorted(self._changed)))
        restart.end()

    def _digests(self) -> dict[str, bytes]:
        listed = sorted(self._folder.iterdir()) if self._folder is not None else []
        files = {path.name: path for path in (*self._files, *listed) if path.is_file()}
        return {name: hashlib.sha256(path.read_bytes()).digest() for name, path in files.items()}


def _differences(first: Mapping[str, bytes], now: Mapping[str, bytes]) -> frozenset[str]:
    return frozenset(name for name in first.keys() | now.keys() if first.get(name) != now.get(name))
