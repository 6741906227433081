"""The jars of Apache Kafka, resolved once from their Maven coordinates and kept in the local Maven repository.

Neither Java nor Maven takes part. The list of paths is cached, as walking the dependency graph takes seven seconds.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from shared.contracts.errors import Misconfigured

KAFKA_VERSION = "4.3.1"
# The "!" keeps log4j's own dependency management away from Kafka's: without it an older kafka-clients is chosen.
COORDINATES = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!"

ReportProgress = Callable[[int, int, str], None]


def class_path(progress: ReportProgress | None = None) -> str:
    """Paths of all jars, joined for ``java -cp``; ``progress(done, of, jar)`` is called while they are fetched."""
    listing = _cache() / f"kafka-{KAFKA_VERSION}.json"
    jars = _read(listing) or _resolve(listing, progress or _print_progress)
    return os.pathsep.join(jars)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stet"


def _print_progress(done: int, of: int, jar: str) -> None:
    if done in {0, of}:
        print(f"Apache Kafka {KAFKA_VERSION}: {jar}", file=sys.stderr)


def _read(listing: Path) -> list[str]:
    """The jars listed earlier, or none if they were listed for other coordinates or one is missing."""
    if not listing.exists():
        return []
    known = json.loads(listing.read_text())
    if known["coordinates"] != COORDINATES or not all(Path(jar).exists() for jar in known["jars"]):
        return []
    return list(known["jars"])


def _resolve(listing: Path, progress: ReportProgress) -> list[str]:
    import jgo  # noqa: PLC0415 -- half a second, and only the first time

    progress(0, 1, "resolving " + COORDINATES)
    artifacts = jgo.resolve(COORDINATES)
    check_versions({artifact.artifactId: artifact.version for artifact in artifacts})
    jars = []
    for done, artifact in enumerate(artifacts):
        progress(done, len(artifacts), artifact.filename)
        jars.append(str(artifact.resolve()))
    progress(len(jars), len(jars), "all jars are here")
    listing.parent.mkdir(parents=True, exist_ok=True)
    draft = listing.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(json.dumps({"coordinates": COORDINATES, "jars": jars}))
    draft.replace(listing)
    return jars


def check_versions(versions: dict[str, str]) -> None:
    """Raises Misconfigured unless the broker and the client library in it are of one version."""
    client, server = versions.get("kafka-clients"), versions.get("kafka-server")
    if client != server or client is None:
        raise Misconfigured(
            "dev/kafka_jars.py", f"kafka-clients is {client} and kafka-server is {server}: they must agree"
        )


def _fetch_with_progress_bar() -> None:
    """Fetch the jars with a progress bar; without a word when they are here."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"Apache Kafka {KAFKA_VERSION}", total=None)
        class_path(lambda done, of, jar: bar.update(task, completed=done, total=of, description=jar))


if __name__ == "__main__":
    _fetch_with_progress_bar()
