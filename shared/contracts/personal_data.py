"""The inventory of personal data: every table and topic, what of a person it holds, and what an erasure does there.

Services erase by it, ``stet erase`` and ``stet export`` search by it, docs/privacy.md is generated from it, and a test
compares it with the real tables and topics: one that has no entry fails the test. Columns that are not searched are in
``plain_columns.toml``, so that a new column must be looked at, too.
"""

from dataclasses import dataclass
from enum import StrEnum


class Erasure(StrEnum):
    """The way in which an erasure changes the rows of a table."""

    DELETE = "delete"
    """Rows about the person, and rows whose documents name the person, are deleted."""

    REDACT = "redact"
    """The person's words, names and addresses in the documents are replaced; the rows stay readable."""

    EMPTY = "empty"
    """Documents of such rows are emptied; the rows stay as a trace."""

    REPLACE = "replace"
    """The erased state of the person, which holds nothing but the pseudonym, takes the row's place."""

    FILES = "files"
    """The files that the rows name are deleted in the file store, then the rows."""

    AWAIT = "await"
    """Rows leave by themselves within moments; those that still name the person count as left over."""

    NONE = "none"
    """No personal data, or the pseudonym alone."""


class Retention(StrEnum):
    """The classes of data, each with its setting for how long its rows are kept."""

    CHAINS = "chains"
    MESSAGES = "messages"
    VISITORS = "visitors"
    INBOX = "inbox"
    PARKED = "parked"
    MEDIA = "media"
    REPORTS = "reports"
    """As long as the ids of handled events."""
    INPUTS = "decision_inputs"
    COSTS = "costs"
    SOURCE = "source"
    """As long as Consonance shows the record."""
    PERSON = "person"
    """As long as the person is known."""
    WINDOWS = "windows"
    """As long after a person's last message as messages are kept."""
    STATUSES = "statuses"
    """As long as the ids of statuses."""
    THROTTLES = "throttles"
    """A week after they have ended."""
    CONFIGURATION = "configuration"
    """Settings, rules and state of the machinery: no data of people."""
    EVIDENCE = "evidence"
    """Proof of what was agreed: for as long as the agreement can be disputed."""


KEPT = {
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
    Retention.WINDOWS: "`STET_KEEP_MESSAGES_DAYS` after they last wrote",
    Retention.STATUSES: "14 days",
    Retention.THROTTLES: "7 days after its end",
    Retention.CONFIGURATION: "until it is replaced",
    Retention.EVIDENCE: "while the agreement can be disputed",
}
"""How long a row is kept, by the name of the setting where there is one, for people to read."""


@dataclass(frozen=True, slots=True)
class TableData:
    """``rows`` is the SQL condition for rows about the person ($1 the tenant, $2 the person's id). ``people`` are the
    ids of the people whom a row is about, as an array: by it the rows of many people are found at once.

    ``documents`` are the columns searched for the person's names and addresses: JSON, text or bytes. ``assign`` is the
    SQL that erasure sets beside, in rows about the person. ``pending`` is the condition for rows that are still needed
    to end what is under way: they count as left over, and are erased by a later pass. ``swept``, where it is given, is
    the condition for the rows that are emptied or deleted, of whichever person.
    """

    name: str
    holds: str
    erasure: Erasure
    retention: Retention
    rows: str | None = None
    documents: tuple[str, ...] = ()
    assign: str | None = None
    pending: str | None = None
    swept: str | None = None
    people: str = "array[person_id]"

    @property
    def is_searched(self) -> bool:
        return self.rows is not None or bool(self.documents)


class TopicErasure(StrEnum):
    """How a person's records leave a topic."""

    DELETE_RECORDS = "delete_records"
    """Records that every reader has committed are deleted, of whichever person; so an erasure shortens the history."""

    COMPACT = "compact"
    """The erased state replaces the earlier ones of its key when the broker compacts the topic."""

    NONE = "none"
    """No personal data, or the pseudonym alone."""


@dataclass(frozen=True, slots=True)
class TopicData:
    name: str
    holds: str
    erasure: TopicErasure


_ID_ONLY = "ids only"
_MACHINERY = "no personal data"


def _shared() -> tuple[TableData, ...]:
    """The tables that every service has."""
    none, config = Erasure.NONE, Retention.CONFIGURATION
    return (
        TableData("inbox", "ids of events that were handled", none, Retention.INBOX),
        *(TableData(f"inbox_{part}", "a partition of inbox", none, Retention.INBOX) for part in range(8)),
        TableData(
            "outbox",
            "records on their way to Kafka, until the broker has them",
            Erasure.AWAIT,
            Retention.INBOX,
            documents=("key", "value", "headers"),
        ),
        TableData("relay", _MACHINERY, none, config),
        TableData("progress", _MACHINERY, none, config),
        TableData("readiness", _MACHINERY, none, config),
        TableData(
            "parked",
            "records that could not be handled, as they came: texts, names, numbers",
            Erasure.EMPTY,
            Retention.PARKED,
            documents=("key", "value", "headers", "sentence"),
            assign="value = '', key = null, headers = null, sentence = 'erased', state = 'discarded', note = 'erased', "
            "settled_at = coalesce(settled_at, parked_at)",
        ),
        TableData("audit_gaps", _ID_ONLY, none, config),
        TableData("audit_runs", _MACHINERY, none, config),
        TableData("audit_pending", _ID_ONLY, none, config),
        TableData("migrations", _MACHINERY, none, config),
        TableData(
            "erasures",
            "people being erased: the pseudonym, and until the last pass the names and numbers to search for",
            none,
            Retention.PERSON,
        ),
    )


_BY_PERSON = "tenant = $1 and person_id = $2"
_SETTLED = "state in ('delivered', 'read', 'failed', 'dropped', 'withdrawn')"
_ASKED = "(select e.requested_at from erasures e where e.tenant = $1 and e.person_id = $2)"
_ASKED_LONG_AGO = "(select e.requested_at from erasures e where e.tenant = $1 and e.person_id = $2 and e.passes > 3)"
_ASKED_BY = "tenant = $1 and request #>> '{evidence,person_id}' = $2"

TABLES: dict[str, tuple[TableData, ...]] = {
    "ingest": (
        *_shared(),
        TableData(
            "people",
            "who a person is: name, language, zone, roles, phone number, BSUID",
            Erasure.REPLACE,
            Retention.VISITORS,
            rows=_BY_PERSON,
            documents=("state", "bsuid", "phone_key", "wa_key"),
        ),
        TableData(
            "former_addresses",
            "phone numbers and BSUIDs that a person has left, by which messages from before are known as theirs",
            Erasure.DELETE,
            Retention.PERSON,
            rows=_BY_PERSON,
        ),
        TableData(
            "erased_addresses",
            "keyed hashes of the addresses of erased people, so that nothing sent before brings them back",
            Erasure.NONE,
            Retention.INBOX,
        ),
        TableData("erased_contacts", "the number in Consonance of erased contacts", Erasure.NONE, Retention.PERSON),
        TableData(
            "snapshots",
            "what Consonance last showed: contacts with names and numbers, works with the names of people",
            Erasure.REDACT,
            Retention.SOURCE,
            documents=("view",),
        ),
        TableData(
            "media_files",
            "files that people sent: who, WhatsApp's id of the file, and where it is stored; and the stored files",
            Erasure.FILES,
            Retention.MEDIA,
            rows=_BY_PERSON,
        ),
        TableData("passes", _MACHINERY, Erasure.NONE, Retention.CONFIGURATION),
        TableData("pushed", "ids of pushed events", Erasure.NONE, Retention.INBOX),
        TableData("webhook_coverage", _MACHINERY, Erasure.NONE, Retention.CONFIGURATION),
        TableData("webhook_replicas", _MACHINERY, Erasure.NONE, Retention.CONFIGURATION),
    ),
    "rules": (
        *_shared(),
        TableData(
            "works",
            "facts about works, with the names and roles of the people on them",
            Erasure.REDACT,
            Retention.SOURCE,
            documents=("document",),
        ),
        TableData(
            "people",
            "facts about people: name, language, zone, roles, addresses",
            Erasure.REPLACE,
            Retention.PERSON,
            rows=_BY_PERSON,
            documents=("document",),
        ),
        TableData("consent", "opt-ins and opt-outs", Erasure.DELETE, Retention.PERSON, rows=_BY_PERSON),
        TableData(
            "consent_ledger",
            "every opt-in and opt-out, with the message that proves it",
            Erasure.DELETE,
            Retention.PERSON,
            rows=_BY_PERSON,
        ),
        TableData(
            "rights_records",
            "rights and their open requests, with the names of holders",
            Erasure.REDACT,
            Retention.SOURCE,
            documents=("document",),
        ),
        TableData("last_rules", "the rule that last wrote to a person", Erasure.DELETE, Retention.PERSON, _BY_PERSON),
        TableData("acquisitions", "the reference of a pitch", Erasure.DELETE, Retention.PERSON, _BY_PERSON),
        TableData(
            "chains",
            "running cases: questions with their text, answers as given, forms being filled in",
            Erasure.REDACT,
            Retention.CHAINS,
            rows="tenant = $1 and $2 = any(people)",
            documents=("document", "subject"),
            people="people",
        ),
        TableData(
            "messages",
            "to whom each message went, and WhatsApp's id of it, which contains the number",
            Erasure.REDACT,
            Retention.CHAINS,
            rows="person_id = $2",
            assign="wamid = null",
        ),
        TableData("writes", _ID_ONLY, Erasure.NONE, Retention.CHAINS),
        TableData(
            "waiting",
            "events that wait for a person or a work to be known, as they came",
            Erasure.REDACT,
            Retention.INBOX,
            rows="tenant = $1 and $2 = any(people)",
            documents=("value",),
            people="people",
            assign="wamid = null",
        ),
        TableData(
            "rulebooks",
            "rule files by content; people.yaml among them names members of staff and their numbers",
            Erasure.NONE,
            Retention.CONFIGURATION,
        ),
        TableData(
            "chains_set_aside", "why a chain stands still", Erasure.REDACT, Retention.CHAINS, documents=("sentence",)
        ),
        TableData("unasked", "hashes of what a person lately wrote", Erasure.DELETE, Retention.PERSON, _BY_PERSON),
        TableData("strangers", _MACHINERY, Erasure.NONE, Retention.CONFIGURATION),
        TableData("pauses", "the login of the operator", Erasure.NONE, Retention.CONFIGURATION),
        TableData(
            "recorded_facts",
            "facts that decisions were made from",
            Erasure.DELETE,
            Retention.INPUTS,
            rows="person_id = $2",
            documents=("document",),
        ),
        TableData(
            "decision_inputs",
            "events that decisions were made on, with the texts of messages",
            Erasure.DELETE,
            Retention.INPUTS,
            rows=_BY_PERSON,
            documents=("document",),
        ),
        TableData(
            "file_reports", "ids and sizes of files that a person sent", Erasure.DELETE, Retention.REPORTS, _BY_PERSON
        ),
        TableData("absences", "when a member of staff is away", Erasure.DELETE, Retention.PERSON, _BY_PERSON),
        TableData("counted_messages", "when a person was written to", Erasure.DELETE, Retention.PERSON, _BY_PERSON),
        TableData("rulebook_activations", "the login of the operator", Erasure.NONE, Retention.CONFIGURATION),
        TableData("rulebook_switch_points", _MACHINERY, Erasure.NONE, Retention.CONFIGURATION),
        TableData("rulebook_sources", _MACHINERY, Erasure.NONE, Retention.CONFIGURATION),
        TableData("rulebook_trials", "the login of the operator", Erasure.NONE, Retention.CONFIGURATION),
        TableData("rulebook_trial_observations", _ID_ONLY, Erasure.NONE, Retention.CONFIGURATION),
        TableData("rulebook_trial_differences", _ID_ONLY, Erasure.NONE, Retention.CONFIGURATION),
        TableData("periods", _MACHINERY, Erasure.NONE, Retention.CONFIGURATION),
    ),
    "dispatcher": (
        *_shared(),
        TableData(
            "people",
            "the phone number and BSUID of a person",
            Erasure.REPLACE,
            Retention.PERSON,
            rows=_BY_PERSON,
            documents=("phone", "bsuid"),
        ),
        TableData("windows", "when a person last wrote to a number", Erasure.DELETE, Retention.WINDOWS, _BY_PERSON),
        TableData("templates", _MACHINERY, Erasure.NONE, Retention.CONFIGURATION),
        TableData("account_templates", _MACHINERY, Erasure.NONE, Retention.CONFIGURATION),
        TableData("account_limits", _MACHINERY, Erasure.NONE, Retention.CONFIGURATION),
        TableData("line_quality", _MACHINERY, Erasure.NONE, Retention.CONFIGURATION),
        TableData("template_readings", _MACHINERY, Erasure.NONE, Retention.CONFIGURATION),
        TableData(
            "messages",
            "the text and parameters of each message, its state, and WhatsApp's id of it, which contains the number; "
            "an erasure empties the texts of all messages that have ended, for one may name the person to another",
            Erasure.EMPTY,
            Retention.MESSAGES,
            rows=_BY_PERSON,
            swept=f"tenant = $1 and ({_SETTLED} or (state = 'uncertain' and person_id = $2) "
            f"or (state = 'accepted' and (person_id = $2 or changed_at < {_ASKED_LONG_AGO}))) "
            "and (content::text <> '{}' or (person_id = $2 and wamid is not null))",
            assign="content = '{}', wamid = case when person_id = $2 then null else wamid end",
            documents=("content",),
            pending=f"tenant = $1 and $2 <> '' and state in ('waiting', 'intent', 'uncertain') "
            f"and requested_at <= {_ASKED}",
        ),
        TableData("charges", "which messages WhatsApp charges for, by their ids", Erasure.NONE, Retention.MESSAGES),
        TableData("charge_totals", _MACHINERY, Erasure.NONE, Retention.COSTS),
        TableData(
            "documents",
            "the addresses of documents to send, while a message needs them",
            Erasure.AWAIT,
            Retention.MESSAGES,
            documents=("address",),
        ),
        TableData("uploads", "WhatsApp's ids of files of the publisher's", Erasure.NONE, Retention.MESSAGES),
        TableData("withdrawals", _ID_ONLY, Erasure.NONE, Retention.MESSAGES),
        TableData(
            "early_amendments",
            "other hours, or the text of another template, for a message that is not known yet; an erasure deletes "
            "also those about others from before the request, or from the hour after it, for a text may hold words of "
            "the person",
            Erasure.DELETE,
            Retention.STATUSES,
            rows=_BY_PERSON,
            swept=f"tenant = $1 and (person_id = $2 or at < {_ASKED_LONG_AGO} + interval '1 hour')",
            documents=("amendment",),
        ),
        TableData(
            "attempts",
            "requests to WhatsApp, and its id of the message, which contains the number",
            Erasure.REDACT,
            Retention.MESSAGES,
            rows="wamid is not null and (tenant, message_id) in "
            "(select tenant, message_id from messages where tenant = $1 and person_id = $2)",
            people="array(select m.person_id from messages m "
            "where (m.tenant, m.message_id) = (attempts.tenant, attempts.message_id))",
            assign="wamid = null",
        ),
        TableData(
            "early_statuses",
            "statuses whose message is not known yet, by WhatsApp's id of it",
            Erasure.DELETE,
            Retention.STATUSES,
            documents=("wamid", "callback"),
        ),
        TableData("webhook_coverage", _MACHINERY, Erasure.NONE, Retention.CONFIGURATION),
        TableData(
            "throttles",
            "how long not to write to a person, and why",
            Erasure.DELETE,
            Retention.THROTTLES,
            rows="tenant = $1 and $2 in (subject, detail)",
            people="array[subject, detail]",
        ),
        TableData("pauses", "the login of the operator", Erasure.NONE, Retention.CONFIGURATION),
    ),
    "writeback": (
        *_shared(),
        TableData(
            "writes",
            "what people asked to have written, with the question, the answer and WhatsApp's ids",
            Erasure.REDACT,
            Retention.CHAINS,
            rows=_ASKED_BY,
            people="array[request #>> '{evidence,person_id}']",
            documents=("request", "before", "value"),
            assign="before = null, value = null",
            pending=f"{_ASKED_BY} and state in ('queued', 'intent')",
        ),
        TableData(
            "tasks",
            "changes that a person makes by hand",
            Erasure.REDACT,
            Retention.CHAINS,
            rows=f"(tenant, write_id) in (select tenant, write_id from writes where {_ASKED_BY})",  # noqa: S608
            people="array(select w.request #>> '{evidence,person_id}' from writes w "
            "where (w.tenant, w.write_id) = (tasks.tenant, tasks.write_id))",
            documents=("changes", "error_messages", "note"),
            assign="changes = '[]', error_messages = '[]', note = 'erased'",
        ),
        TableData(
            "people",
            "the name and the number in Consonance of a person",
            Erasure.REPLACE,
            Retention.PERSON,
            rows=_BY_PERSON,
            documents=("display_name",),
        ),
        TableData(
            "evidence",
            "proof of each write by an earlier version, until it is moved into the sealed chains",
            Erasure.NONE,
            Retention.EVIDENCE,
            documents=("asked", "proof", "read_back"),
        ),
        TableData(
            "evidence_keys",
            "the key that seals what is about a person; an erasure destroys it, unless a legal hold stands",
            Erasure.REPLACE,
            Retention.EVIDENCE,
            rows=_BY_PERSON,
        ),
        TableData("evidence_chains", _ID_ONLY, Erasure.NONE, Retention.EVIDENCE),
        TableData(
            "evidence_entries", "sealed proof, which nobody can read without the key", Erasure.NONE, Retention.EVIDENCE
        ),
        TableData("evidence_holds", "the login of the operator", Erasure.NONE, Retention.EVIDENCE),
        TableData("media_files", "where a person's file is stored", Erasure.DELETE, Retention.MEDIA, rows=_BY_PERSON),
        TableData("media_awaited", _ID_ONLY, Erasure.NONE, Retention.MEDIA),
        TableData("pauses", "the login of the operator", Erasure.NONE, Retention.CONFIGURATION),
    ),
    "operator": (
        TableData("audit_log", "logins of operators, what they changed and why", Erasure.NONE, Retention.EVIDENCE),
        TableData("migrations", _MACHINERY, Erasure.NONE, Retention.CONFIGURATION),
    ),
}
"""By schema, and with the names of the tables without it."""

_DELETED, _COMPACTED = TopicErasure.DELETE_RECORDS, TopicErasure.COMPACT

TOPICS: tuple[TopicData, ...] = (
    TopicData("consonance.events", "works, rights and royalties with the names of people", _DELETED),
    TopicData("contacts", "the full state of each person", _COMPACTED),
    TopicData("whatsapp.messages", "what people wrote", _DELETED),
    TopicData("whatsapp.media", "the links of files that people sent", _DELETED),
    TopicData("whatsapp.statuses", "WhatsApp's ids of messages, which contain the number", _DELETED),
    TopicData("whatsapp.account", "what WhatsApp says of the account; fields about people are left out", _DELETED),
    TopicData("messages.requested", "texts and parameters of messages to people", _DELETED),
    TopicData("messages.events", "WhatsApp's ids of messages, which contain the number", _DELETED),
    TopicData("writes.requested", "what people asked to have written, with question and answer", _DELETED),
    TopicData("evidence.requested", "approvals as they were given, with question and answer", _DELETED),
    TopicData("writes.events", "outcomes of writes by record", _DELETED),
    TopicData("metadata.approved", "approved texts of published works; numbers of contacts", TopicErasure.NONE),
    TopicData("decisions", "reasons and ids: the pseudonym alone", TopicErasure.NONE),
    *(
        TopicData(f"parked.{service}", "records that could not be handled, as they came", _DELETED)
        for service in ("ingest", "rules", "dispatcher", "writeback")
    ),
)

DELETED_TOPICS = tuple(topic.name for topic in TOPICS if topic.erasure is TopicErasure.DELETE_RECORDS)
"""The topics whose records an erasure deletes."""
