"""A starter for tests to kill: starts what its arguments name in the folder given, says so, and waits for ever."""

import asyncio
import sys
from pathlib import Path

from dev.kafka import EmbeddedKafka
from dev.postgres import EmbeddedPostgres
from dev.processes import Child, Command

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
FORKING = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {STUBBORN!r}])"


async def main(what: str, folder: Path) -> None:
    if what == "kafka":
        await EmbeddedKafka(folder).start()
    elif what == "postgres":
        await EmbeddedPostgres(folder).start()
    else:
        await Child(Command(what, (sys.executable, "-c", FORKING), grace=0.2), folder).start()
    sys.stdout.write("started\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
