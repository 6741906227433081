"""One stack per name: the claim is a lock on a file, and ends with the process that holds it, however that ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.contracts.errors import Misconfigured


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for the length of the block; raises Misconfigured when another process holds it."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misconfigured("RUN", f"a stack named {folder.name} is running already; choose another name") from None
        yield
