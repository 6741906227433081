"""Makes the tables of docs/privacy.md from the inventory of personal data: ``python -m dev.privacy_page``."""

from collections.abc import Iterator
from pathlib import Path

import typer

from dev.layout import ROOT
from shared.contracts.personal_data import KEPT, TABLES, TOPICS, Erasure, TopicErasure
from shared.contracts.topics import ALL_TOPICS

PATH = Path("docs/privacy.md")
_START = "## Tables"
_OF_EVERY_SERVICE = frozenset({"outbox", "parked"})


def privacy_page() -> str:
    """The text of the page as it is, and the tables at its end."""
    return "\n".join([(ROOT / PATH).read_text("utf-8").partition(f"\n{_START}")[0], *_tables(), *_topics()])


def _tables() -> Iterator[str]:
    yield f"{_START}\n\nTables that hold data of people. The others hold ids, or settings of the machinery.\n"
    yield "| table | holds | an erasure | kept |\n|---|---|---|---|"
    seen: set[str] = set()
    for schema, tables in TABLES.items():
        for table in tables:
            if not table.is_searched or (table.name in _OF_EVERY_SERVICE and table.name in seen):
                continue
            seen.add(table.name)
            place = "every service" if table.name in _OF_EVERY_SERVICE else schema
            erasure, kept = _ERASURES[table.erasure], KEPT[table.retention]
            yield f"| `{table.name}` of {place} | {table.holds} | {erasure} | {kept} |"
    yield ""


def _topics() -> Iterator[str]:
    yield "## Topics\n\n| topic | holds | an erasure | kept |\n|---|---|---|---|"
    kept = {topic.name: topic for topic in ALL_TOPICS}
    for topic in TOPICS:
        service = topic.name.removeprefix("parked.")
        name = f"`{topic.name}`" if service == topic.name else f"the parked records of {service}"
        yield f"| {name} | {topic.holds} | {_TOPIC_ERASURES[topic.erasure]} | {kept[topic.name].kept} |"
    yield ""


_ERASURES = {
    Erasure.DELETE: "deletes the rows",
    Erasure.REDACT: "replaces names, addresses and own words",
    Erasure.EMPTY: "empties the rows",
    Erasure.REPLACE: "leaves the pseudonym",
    Erasure.FILES: "deletes the files, then the rows",
    Erasure.AWAIT: "waits until the rows have left",
    Erasure.NONE: "leaves it",
}
_TOPIC_ERASURES = {
    TopicErasure.DELETE_RECORDS: "deletes the records that every service has read",
    TopicErasure.COMPACT: "replaces earlier states",
    TopicErasure.NONE: "leaves it",
}


def main() -> None:
    """Write the part of docs/privacy.md that comes from the code."""
    (ROOT / PATH).write_text(privacy_page(), "utf-8")


if __name__ == "__main__":
    typer.run(main)
