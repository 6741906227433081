"""Notices that a file of secrets or certificates changed after the start, and asks for a restart.

Kubernetes replaces the files of a Secret in a running pod. What a service read stays in use until it is restarted.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from shared.runtime.telemetry import get_logger

_CHECK_SECONDS = 20.0

log = get_logger()


class SecretFilesWatch:
    """``files`` were read at the start; of ``folder`` every file counts too."""

    def __init__(self, folder: Path | None, files: Iterable[Path]) -> None:
        self._folder = folder
        self._files = tuple(files)
        self._first = self._digests()
        self._changed: frozenset[str] = frozenset()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            await self.check()

    async def check(self) -> None:
        """Log what changed since the last check. A file that is again as it was at the start counts as unchanged."""
        changed = _differences(self._first, await asyncio.to_thread(self._digests))
        for name in sorted(changed - self._changed):
            log.warning("secret.changed", name=name, hint="restart this service")
        self._changed = changed

    async def detail(self) -> str:
        """A detail of readiness: the files whose content changed since it was read; empty where there are none."""
        names = ", ".join(sorted(self._changed))
        return f"{names}: changed since the start; restart this service" if names else ""

    def _digests(self) -> dict[str, bytes]:
        listed = sorted(self._folder.iterdir()) if self._folder is not None else []
        files = {path.name: path for path in (*self._files, *listed) if path.is_file()}
        return {name: hashlib.sha256(path.read_bytes()).digest() for name, path in files.items()}


def _differences(first: Mapping[str, bytes], now: Mapping[str, bytes]) -> frozenset[str]:
    return frozenset(name for name in first.keys() | now.keys() if first.get(name) != now.get(name))
