"""Free loopback ports for servers that must come back on the same port after a kill.

They lie below the range that outgoing connections draw from: there, a client that knocks on a dead server's port may be
given that very port for its own end, connect to itself, and keep the server from returning.
"""

import random
import socket
from contextlib import ExitStack, suppress

LOOPBACK = "127.0.0.1"
_LOWEST, _HIGHEST = 20_000, 32_000  # Linux draws from 32768 up, macOS from 49152 up
_given: set[int] = set()  # by this process: a server may not yet listen on its port when the next one asks


def free_ports(count: int) -> list[int]:
    """``count`` different ports that nothing is bound to at this moment and no earlier call has returned."""
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = random.randint(_LOWEST, _HIGHEST)
            if port in _given:
                continue
            with suppress(OSError):
                held.enter_context(socket.socket()).bind((LOOPBACK, port))
                ports.append(port)
        _given.update(ports)
        return ports
