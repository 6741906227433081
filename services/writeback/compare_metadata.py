"""Compare-and-set for one metadata item: Consonance must still show what the person was shown.

A title is one value. A cover copy may live in several marketing texts, each as HTML and as the Markdown it was written
in; replacing one means to create the new text and then to remove the old, so both may be seen halfway.
"""

from dataclasses import dataclass
from typing import Any

from services.writeback.judgement import Judgement, Reason, Standing, conflict
from services.writeback.ways import Seen
from shared.contracts.canonical import canonical_hash, canonical_of
from shared.contracts.writes import MetadataItem


@dataclass(frozen=True, slots=True)
class _Live:
    """One value that stands in Consonance: its canonical forms, how it was shown, the id to remove it by."""

    forms: frozenset[str]
    shown: str | None
    id: Any = None


def judge_item(item: MetadataItem, seen: Seen | None) -> Judgement:
    """``seen`` is None where this Consonance cannot be read for it: nothing speaks against the change."""
    if seen is None:
        return Judgement(Standing.CLEAR, value=item.new_value, current=item.old_value)
    if not seen.found:
        return conflict(Reason.RECORD_MISSING)
    live = _live(item, seen)
    stale = [each for each in live if canonical_of(item.field, item.new_value) not in each.forms]
    landed = len(stale) < len(live)
    if landed and not stale:
        return Judgement(Standing.APPLIED, value=item.new_value, current=live[0].shown)
    if len(stale) > 1:
        return conflict(Reason.SEVERAL_LIVE, "\n".join(each.shown or "" for each in stale))
    return _against_baseline(item, stale[0] if stale else _Live(frozenset({""}), None), landed=landed)


def _against_baseline(item: MetadataItem, standing: _Live, *, landed: bool) -> Judgement:
    """What the person was shown as the old value is a baseline too, should the sender have hashed in another way."""
    shown_to_person = item.old_value is not None and canonical_of(item.field, item.old_value) in standing.forms
    hashed_alike = any(canonical_hash(item.field, form) == item.baseline_hash for form in standing.forms)
    if not shown_to_person and not hashed_alike:
        return conflict(Reason.CHANGED_MEANWHILE, standing.shown)
    stale = () if standing.id is None else (standing.id,)
    return Judgement(Standing.CLEAR, value=item.new_value, current=standing.shown, stale=stale, create=not landed)


def _live(item: MetadataItem, seen: Seen) -> list[_Live]:
    current, sources, ids = (seen.values.get(name) for name in ("current", "source", "ids"))
    if not isinstance(current, list):
        return [_Live(frozenset({canonical_of(item.field, current)}), current)]
    sources = sources if isinstance(sources, list) else current
    ids = ids if isinstance(ids, list) else [None] * len(current)
    return [
        _Live(frozenset({canonical_of(item.field, text), canonical_of(item.field, source)}), text, text_id)
        for text, source, text_id in zip(current, sources, ids, strict=True)
    ]
