"""The tables that may grow for longer than a year, each with the reason and the setting that bounds it, if any."""

from collections.abc import Mapping

_PSEUDONYM = (
    "one row for each contact, and for each visitor until STET_KEEP_VISITORS_DAYS and then STET_KEEP_INBOX_DAYS have "
    "passed, which is more than a year; a merged one leaves the id, so that what names it is known (docs/privacy.md)"
)
_EVIDENCE = (
    "proof of what was agreed, without a setting: as long as the agreement can be disputed "
    "(docs/operations/evidence.md)"
)

BY_DESIGN: Mapping[str, str] = {
    **{f"{service}.people": _PSEUDONYM for service in ("ingest", "rules", "dispatcher", "writeback")},
    **{f"writeback.evidence_{part}": _EVIDENCE for part in ("chains", "entries", "keys")},
    "rules.rights_records": (
        "the state of each rights record, without a setting: while Consonance shows it, and no event says when it no "
        "longer does"
    ),
    "rules.consent": (
        "what each id of a person has agreed to or ended, while the person is known: where another account of WhatsApp "
        "shows at their number, each of their ids notes that what was agreed before has lapsed"
    ),
    "rules.consent_ledger": "every change of the former, with the message that proves a STOP or a START, as long",
}
