"""Makes the tables of docs/privacy.md from the inventory of personal data: ``python -m dev.privacy_page``."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from dev.layout import ROOT
from shared.contracts.personal_data import TABLES, TOPICS, Erasure, Retention, TopicErasure
from shared.contracts.topics import ALL_TOPICS, COMPACTED_WITHIN

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
            erasure, kept = _ERASURES[table.erasure], _KEPT[table.retention]
            yield f"| `{table.name}` of {place} | {table.holds} | {erasure} | {kept} |"
    yield ""


def _topics() -> Iterator[str]:
    yield "## Topics\n\n| topic | holds | an erasure | kept |\n|---|---|---|---|"
    kept = {topic.name: topic.keep for topic in ALL_TOPICS}
    for topic in TOPICS:
        service = topic.name.removeprefix("parked.")
        name = f"`{topic.name}`" if service == topic.name else f"the parked records of {service}"
        yield f"| {name} | {topic.holds} | {_TOPIC_ERASURES[topic.erasure]} | {_days(kept[topic.name])} |"
    yield ""


def _days(keep: timedelta | None) -> str:
    hours = int(COMPACTED_WITHIN.total_seconds() // 3600)
    return f"{keep.days} days" if keep is not None else f"the newest state of each person; earlier ones {hours} hours"


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
_KEPT = {
    Retention.CHAINS: "`STET_KEEP_CHAINS_DAYS` after the end",
    Retention.MESSAGES: "`STET_KEEP_MESSAGES_DAYS` after the last status",
    Retention.VISITORS: "contacts: until an erasure; others: `STET_KEEP_VISITORS_DAYS`",
    Retention.INBOX: "until it is handled",
    Retention.PARKED: "`STET_KEEP_PARKED_DAYS` after it is settled",
    Retention.MEDIA: "`STET_KEEP_MEDIA_DAYS`",
    Retention.REPORTS: "`STET_KEEP_INBOX_DAYS`",
    Retention.INPUTS: "`STET_KEEP_DECISION_INPUTS_DAYS`",
    Retention.COSTS: "`STET_KEEP_COST_DAYS`",
    Retention.SOURCE: "until Consonance shows it without them, or an erasure",
    Retention.PERSON: "while the person is known",
    Retention.CONFIGURATION: "until it is replaced",
    Retention.EVIDENCE: "while the agreement can be disputed",
}


def main() -> None:
    (ROOT / PATH).write_text(privacy_page(), "utf-8")


if __name__ == "__main__":
    main()
