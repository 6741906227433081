"""Child processes of a long calculation end with the process that began them."""

import multiprocessing
import os
from multiprocessing import connection
from threading import Thread


def end_with_parent() -> None:
    """End this process when the parent is gone, also when the parent was killed; the initializer of a process pool.

    A worker of a pool waits for work on a pipe that it holds open itself, so it would wait for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        Thread(target=_wait, args=(parent.sentinel,), name="parent", daemon=True).start()


def _wait(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
