"""The first steps of a process, before its other imports: how it ends on a signal, and how it uses less CPU and memory.

This module imports nothing but the standard library, and changes nothing until one of its functions is called.
"""

import gc
import os
import signal
import sys

_NEW_OBJECTS = 50_000  # between two collections; a batch makes some tens of thousands, and frees them itself


def end_on_sigterm() -> None:
    """End at once on SIGTERM, until the service says how it ends.

    The first process of a container ignores a signal that it does not handle: the kubelet would wait for the whole
    grace period.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


INTERRUPTED = 130
"""The exit code after Ctrl-C: shells give it to a program that SIGINT ended."""


def end_on_interrupt() -> None:
    """End at once and silently on Ctrl-C, until ``raise_on_interrupt``: nothing has begun that could be undone.

    A process that was started to ignore it, as a shell starts those in the background, goes on to ignore it.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))


def raise_on_interrupt() -> None:
    """Raise KeyboardInterrupt on Ctrl-C, as Python does by itself where the signal is not ignored."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def collect_garbage_seldom() -> None:
    """Run Python's garbage collector seldom: it looks for objects in reference cycles, and this code makes nearly none.

    With Python's own thresholds, a fifth of the CPU of a start is spent on collections that look at imported objects,
    and these all stay.
    """
    gc.set_threshold(_NEW_OBJECTS, 20, 100)


def import_structlog_without_rich() -> None:
    """Import structlog as if rich were not installed: a tenth of the CPU of a service's start.

    structlog draws tracebacks with rich where it finds it, and no service prints any. The command line uses rich.
    """
    if "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment] # to the import system: it cannot be imported
    try:
        import structlog  # noqa: F401, PLC0415 -- imported for its effect
    finally:
        del sys.modules["rich"]


def freeze_started_objects() -> None:
    """Let the garbage collector leave out all objects that exist now: they live as long as the process."""
    gc.freeze()


def end_with_parent() -> None:
    """End this process when the parent is gone, also when the parent was killed; the initializer of a process pool.

    A worker of a pool waits for work on a pipe that it holds open itself, so it would wait for ever.
    """
    from multiprocessing import connection, parent_process  # noqa: PLC0415 -- for workers of a pool alone
    from threading import Thread  # noqa: PLC0415 -- the same

    def wait(sentinel: int) -> None:
        connection.wait([sentinel])
        os._exit(1)

    parent = parent_process()
    if parent is not None:
        Thread(target=wait, args=(parent.sentinel,), name="parent", daemon=True).start()
