"""A bundle: recorded decisions and events in one file that holds all that is needed to make or compare them again.

The file is JSON lines, gzipped. Each line is a section with a ``kind``: first ``bundle``; then ``file`` and
``rulebook`` (rule files by content), ``fact`` (by content), ``decision``, ``event``, ``person`` and ``chain``.
"""

import gzip
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson
from msgspec import Raw

from services.rules.conversation.decision_inputs import DecisionInputs, digest_of
from services.rules.conversation.fact_values import Absence
from services.rules.rulebook.built_in import add_built_in_rules
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.people_schema import PeopleFile
from services.rules.rulebook.periods import PERIODS
from services.rules.rulebook.yaml_tree import parse
from shared.contracts.envelope import Event, kinds_by_type, parse_event
from shared.contracts.errors import Malformed, Misconfigured
from shared.contracts.ids import ChainId, PersonId, Revision, RuleId, TenantId, derive_id
from shared.contracts.topics import CONSUMED
from shared.contracts.values import DECODE_ERRORS, Instant, Value, convert, decode, encode, to_builtins
from shared.contracts.writes import WriteOperation, WriteOutcome

FORMAT = 1
EVENT_KINDS = {
    **{kind: data for topic in CONSUMED["rules"] for kind, data in topic.kinds.items()},
    **kinds_by_type(PERIODS.values()),
}
"""Everything that rules reads, and the events by which it starts recurring rules."""


class SectionKind(StrEnum):
    BUNDLE = "bundle"
    FILE = "file"
    RULEBOOK = "rulebook"
    FACT = "fact"
    DECISION = "decision"
    EVENT = "event"
    CHAIN = "chain"
    REACTION = "reaction"


class BundleHead(Value):
    """``since`` and ``until`` are business time; ``opted_out`` had opted out before, and ``absences`` been announced.

    ``left_out`` counts decisions.
    """

    format: int = FORMAT
    tenant: TenantId
    written_at: Instant
    since: Instant | None = None
    until: Instant | None = None
    opted_out: tuple[PersonId, ...] = ()
    absences: dict[PersonId, Absence] = {}  # noqa: RUF012 -- as below
    left_out: dict[str, int] = {}  # noqa: RUF012 -- msgspec copies a default


class RecordedDecision(Value):
    """``outcome`` is what came of ``inputs``, as canonical JSON without texts."""

    inputs: DecisionInputs
    outcome: Raw


class LiveChain(Value):
    """A chain that ran when the bundle was written."""

    chain_id: ChainId
    rule: RuleId
    revision: Revision
    state: str
    started_at: Instant
    next_due: Instant | None = None
    people: tuple[PersonId, ...] = ()


class Reaction(Value):
    """A response to a message or write of a chain: an answer, a failed delivery, or the outcome of a write.

    ``say`` is the template of the message.
    """

    rule: RuleId
    subject: str
    at: Instant
    person_id: PersonId | None = None
    say: str = ""
    answer: str | None = None
    failed: bool = False
    operation: WriteOperation | None = None
    outcome: WriteOutcome | None = None


class UnreadableBundle(Misconfigured):
    """The file is no bundle, or one of a newer version."""


@dataclass(slots=True)
class Bundle:
    """``rulebooks`` are digests of files by revision and name; ``files`` and ``facts`` are contents by digest."""

    head: BundleHead
    files: dict[str, str] = field(default_factory=dict)
    rulebooks: dict[Revision, dict[str, str]] = field(default_factory=dict)
    facts: dict[str, bytes] = field(default_factory=dict)
    decisions: list[RecordedDecision] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    chains: list[LiveChain] = field(default_factory=list)
    reactions: list[Reaction] = field(default_factory=list)

    def add_rulebook(self, revision: Revision, files: Mapping[str, str]) -> None:
        if revision not in self.rulebooks:
            named = {name: digest_of(text.encode()) for name, text in sorted(files.items())}
            self.rulebooks[revision] = named
            self.files.update((digest, files[name]) for name, digest in named.items())

    def write(self, path: Path) -> None:
        """Write the bundle; the same content gives the same bytes."""
        with path.open("wb") as file, gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
            packed.writelines(orjson.dumps(section) + b"\n" for section in self._sections())

    def _sections(self) -> Iterator[dict[str, Any]]:
        yield {"kind": SectionKind.BUNDLE, **to_builtins(self.head)}
        yield from ({"kind": SectionKind.FILE, "digest": key, "text": text} for key, text in sorted(self.files.items()))
        for revision, named in sorted(self.rulebooks.items()):
            yield {"kind": SectionKind.RULEBOOK, "revision": revision, "files": named}
        for digest, raw in sorted(self.facts.items()):
            yield {"kind": SectionKind.FACT, "digest": digest, "value": orjson.Fragment(raw)}
        for decision in self.decisions:
            yield {"kind": SectionKind.DECISION, "value": orjson.Fragment(encode(decision))}
        for event in self.events:
            yield {"kind": SectionKind.EVENT, "value": orjson.Fragment(encode(event))}
        for reaction in self.reactions:
            yield {"kind": SectionKind.REACTION, "value": orjson.Fragment(encode(reaction))}
        for chain in self.chains:
            yield {"kind": SectionKind.CHAIN, "value": orjson.Fragment(encode(chain))}


def read_bundle(path: Path) -> Bundle:
    """Raises UnreadableBundle, which names the line."""
    found: Bundle | None = None
    number = 0
    try:
        with gzip.open(path, "rb") as lines:
            for number, line in enumerate(lines, 1):  # noqa: B007 -- the message below names it
                section = decode(_Section, line)
                if found is None:
                    found = Bundle(_read_head(line))
                else:
                    _READERS[section.kind](found, section)
    except gzip.BadGzipFile:
        raise UnreadableBundle(str(path), "this is no bundle; stet rules bundle writes one") from None
    except OSError as error:
        raise UnreadableBundle(str(path), f"it cannot be read: {error.strerror or error}") from None
    except (EOFError, KeyError, Malformed, *DECODE_ERRORS) as error:
        raise UnreadableBundle(str(path), f"line {number} is not one of a bundle: {error}") from None
    if found is None:
        raise UnreadableBundle(str(path), "it is empty")
    return found


class _Section(Value):
    kind: str
    digest: str = ""
    text: str = ""
    revision: Revision = Revision("")
    files: dict[str, str] = {}  # noqa: RUF012 -- msgspec copies a default
    value: Raw = Raw(b"null")


def _read_head(line: bytes) -> BundleHead:
    written = orjson.loads(line)
    if written.get("kind") != SectionKind.BUNDLE or written.get("format", FORMAT) > FORMAT:
        raise Malformed("it begins with no bundle of a version known here")
    return convert(BundleHead, written)


_READERS: Mapping[str, Callable[[Bundle, _Section], object]] = {
    SectionKind.FILE: lambda found, section: found.files.__setitem__(section.digest, section.text),
    SectionKind.RULEBOOK: lambda found, section: found.rulebooks.__setitem__(section.revision, section.files),
    SectionKind.FACT: lambda found, section: found.facts.__setitem__(section.digest, bytes(section.value)),
    SectionKind.DECISION: lambda found, section: found.decisions.append(decode(RecordedDecision, section.value)),
    SectionKind.EVENT: lambda found, section: found.events.append(parse_event(bytes(section.value), EVENT_KINDS)),
    SectionKind.REACTION: lambda found, section: found.reactions.append(decode(Reaction, section.value)),
    SectionKind.CHAIN: lambda found, section: found.chains.append(decode(LiveChain, section.value)),
}


# ------------------------------------------------------------------ rulebooks of a bundle

_PEOPLE = "people.yaml"


@dataclass(slots=True)
class RulebookLoader:
    """Loads rulebooks, each once; those that differ in their people alone share everything else."""

    _loaded: dict[Revision, Rulebook] = field(default_factory=dict)
    _alike: dict[str, Rulebook] = field(default_factory=dict)

    def load(self, revision: Revision, files: Mapping[str, str]) -> Rulebook:
        """The rulebook with the built-in rules. Raises UnreadableBundle where the files are at fault."""
        if revision not in self._loaded:
            self._loaded[revision] = add_built_in_rules(self._load(revision, files))
        return self._loaded[revision]

    def _load(self, revision: Revision, files: Mapping[str, str]) -> Rulebook:
        people = next((name for name in files if name.rpartition("/")[2] == _PEOPLE), _PEOPLE)
        others = derive_id(*(part for name in sorted(files) if name != people for part in (name, files[name])))
        if others in self._alike and people in files:
            report = FaultReport()
            tree = parse(people, files[people], report)
            own = PeopleFile.read(tree, report).build()
            if tree is not None and all(fault.only_new for fault in report.faults):
                return replace(self._alike[others], people=own, revision=revision)
        book, faults = load(files)
        if book is None:
            listed = "; ".join(map(str, faults[:3]))
            raise UnreadableBundle("the bundle", f"the rulebook {revision} is at fault: {listed}")
        self._alike[others] = book
        return book


def rulebooks_of(bundle: Bundle) -> Callable[[Revision], Rulebook]:
    """The rulebooks of a bundle by revision. Raises UnreadableBundle for one that it has not."""
    loader = RulebookLoader()

    def of_revision(revision: Revision) -> Rulebook:
        named = bundle.rulebooks.get(revision)
        if named is None:
            raise UnreadableBundle("the bundle", f"it has no rulebook of revision {revision}")
        return loader.load(revision, {name: bundle.files[digest] for name, digest in named.items()})

    return of_revision
