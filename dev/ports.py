"""Free loopback ports for servers that must come back on the same port after a kill.

They lie below the range that outgoing connections draw from: there, a client that knocks on a dead server's port may be
given that very port for its own end, connect to itself, and keep the server from returning.
"""

import fcntl
import os
import random
import socket
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

LOOPBACK = "127.0.0.1"
_LOWEST, _HIGHEST = 20_000, 32_000  # Linux draws from 32768 up, macOS from 49152 up
_reserved: dict[int, int] = {}  # by this process: the open lock file of each port, until the process ends


def free_ports(count: int) -> list[int]:
    """``count`` different ports that nothing is bound to at this moment and no running process of ours was given.

    A server may not yet listen on its port, or may just be restarting, when another process asks.
    """
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = random.randint(_LOWEST, _HIGHEST)
            if not _reserve(port):
                continue
            with suppress(OSError):
                held.enter_context(socket.socket()).bind((LOOPBACK, port))
                ports.append(port)
        return ports


def _reserve(port: int) -> bool:
    if port in _reserved:
        return False
    folder = Path(tempfile.gettempdir()) / f"stet-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder / str(port), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    _reserved[port] = lock
    return True
