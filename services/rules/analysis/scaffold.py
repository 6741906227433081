"""The first files of a rule: the rule itself, its templates, and a story that says what happens now.

Each job of a publisher has an event, a subject and the people it usually concerns; the author changes the words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.rules.analysis.opening import find_start, flow, played_story
from services.rules.rulebook.faults import FileFault
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.rule_folder import RULE, STORIES, TEMPLATE
from services.rules.scenario.folder_check import check_files
from shared.contracts.ids import RuleId


class Job(StrEnum):
    """The subject of a rule. Its value is also the folder of its files."""

    BLOCKS = "blocks"
    DEADLINES = "deadlines"
    LAUNCH = "launch"
    METADATA = "metadata"
    PITCHES = "pitches"
    RIGHTS = "rights"
    ROYALTIES = "royalties"
    STAGES = "stages"


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """Lines of a rule as they are written. ``who`` is empty for the team that owns the rule.

    ``title`` says whether the event always has a work, whose title a message may name.
    """

    sentence: str
    events: str
    about: str
    who: str
    owner: str
    asks: bool
    condition: str = ""
    until: str = ""
    at: str = ""
    title: bool = True


JOBS: Mapping[Job, JobDefaults] = {
    Job.BLOCKS: JobDefaults(
        "something holds a title up", "work.blocked", "block_id", "owner", "production", asks=True,
        until="work.unblocked",
    ),
    Job.DEADLINES: JobDefaults(
        "a date comes near", "[schedule.date_set, schedule.date_changed]", "milestone_id", "affected", "production",
        asks=False, condition="{new_due: {exists: true}}", at="5 working days before new_due",
    ),
    Job.LAUNCH: JobDefaults(
        "all that a launch needs is final", "launch.component_changed", "work.work_id", "", "marketing", asks=False,
        condition="{launch.complete: true}",
    ),
    Job.METADATA: JobDefaults(
        "details of a title want confirming", "metadata.confirmation_requested", "request_id", "confirmers",
        "metadata", asks=True,
    ),
    Job.PITCHES: JobDefaults(
        "a submission has moved on", "acquisition.status_changed", "acquisition_id", "submitter", "acquisitions",
        asks=False, condition="{notify_submitter: true}", title=False,
    ),
    Job.RIGHTS: JobDefaults(
        "somebody must give permission", "rights.approval_requested", "request_id", "rights_holder", "rights",
        asks=True, until="rights.request_withdrawn",
    ),
    Job.ROYALTIES: JobDefaults(
        "something keeps a payment back", "royalty.payment_issue", "payment_id", "payee", "finance", asks=True,
        until="royalty.payment_sent", title=False,
    ),
    Job.STAGES: JobDefaults(
        "a title reaches a stage of production", "work.stage_changed", "[work.work_id, to_stage_key]", "author",
        "editorial", asks=False, condition="{to_stage_key: final_proof_approved}",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NewRule:
    """The choices of an author. ``who`` None: the people whom the job usually concerns."""

    name: str
    job: Job
    owner: str
    who: str | None = None
    asks: bool | None = None

    @property
    def defaults(self) -> JobDefaults:
        return JOBS[self.job]

    @property
    def is_question(self) -> bool:
        return self.defaults.asks if self.asks is None else self.asks


@dataclass(frozen=True, slots=True)
class Scaffold:
    """The new files by name; where there are ``faults``, the files are not complete."""

    files: Mapping[str, str]
    faults: tuple[FileFault, ...] = ()


def scaffold(new: NewRule, known: Mapping[str, str]) -> Scaffold:
    """The files of a new rule beside the ``known`` ones, by which they are checked and the story is played."""
    language = check_files(known, tested=False).rulebook.tenant.language
    files = {**_templates(new, language), _file(new, new.name, RULE): _rule_text(new, language)}
    checked = check_files({**known, **files}, tested=False)
    if checked.faults:
        return Scaffold(files, checked.faults)
    return Scaffold({**files, _file(new, new.name, STORIES): _story_text(new, checked.rulebook)})


def _file(new: NewRule, stem: str, kind: str) -> str:
    return f"{new.job}/{stem}{kind}"


# ------------------------------------------------------------------ the rule


def _rule_text(new: NewRule, language: str) -> str:
    job, stem = new.defaults, new.name.replace("-", "_")
    team = f"{{team: {new.owner}}}"
    who = new.who or job.who or team
    lines = [
        "# yaml-language-server: $schema=../.schema/rule.schema.json",
        f"rule: {new.name}",
        f"owner: {new.owner}",
        f"why: {{{language}: {flow(f'You are concerned when {job.sentence}.')}}}",
        f"on: {job.events}",
        *([f"if: {job.condition}"] if job.condition else []),
        f"about: {job.about}",
        "steps:",
    ]
    first, then = (f"  - at: {job.at}", "    ") if job.at else ("", "  - ")
    lines += [first] if first else []
    if new.is_question:
        lines += [
            f"{then}ask: {who}",
            f"    say: {stem}",
            "    answers:",
            f"      fine: {{tell: {team}, say: {stem}_answered}}",
            f"      help: {{hand_over: {team}}}",
            "  - after: 2 working days",
            "    remind: unanswered",
            f"    say: {stem}",
            "  - after: 2 working days",
            f"    hand_over: {team}",
            f"    say: {stem}_unanswered",
        ]
    else:
        lines += [f"{then}tell: {who}", f"    say: {stem}"]
    lines += [f"until: {job.until}"] if job.until else []
    return "".join(f"{line}\n" for line in lines)


# ------------------------------------------------------------------ the templates


def _templates(new: NewRule, language: str) -> dict[str, str]:
    stem = new.name.replace("-", "_")
    about = "about “{title}”" if new.defaults.title else "for you"
    if not new.is_question:
        return dict([_template(new, stem, language, f"There is news {about}, {{person}}. You need not do anything.")])
    asked = f"There is a question {about}, {{person}}. Please tap an answer."
    subject = " about “{title}”" if new.defaults.title else ""
    return dict(
        [
            _template(new, stem, language, asked, "{fine: It is fine, help: I need help}"),
            _template(new, f"{stem}_answered", language, f"The question{subject} was answered: it is fine."),
            _template(
                new, f"{stem}_unanswered", language, f"The question{subject} was not answered. Can you take it?",
                "{take: Take it, not_me: Not me}",
            ),
        ]
    )  # fmt: skip


def _template(new: NewRule, name: str, language: str, body: str, buttons: str = "") -> tuple[str, str]:
    fields = "fields: {title: work.title}\n" if "{title}" in body else ""
    return _file(new, name, TEMPLATE), (
        "# yaml-language-server: $schema=../.schema/template.schema.json\n"
        f"template: {name}\ncategory: utility\nversion: 1\n{fields}"
        f"languages:\n  {language}:\n    body: {flow(body)}\n" + (f"    buttons: {buttons}\n" if buttons else "")
    )


# ------------------------------------------------------------------ the story


def _story_text(new: NewRule, book: Rulebook) -> str:
    """The course without any answer, by all rules of the folder: another one may be about the same event.

    Raises LookupError where no opening starts the rule.
    """
    rule = book.rules[RuleId(new.name)]
    opening, _ = find_start(book, rule, rule.events[0], rule.condition)
    if opening is None:
        raise LookupError(new.name)
    waits = ("wait: 10 days",) * 2 if new.is_question else ()
    waits = ("wait: 90 days", *waits) if new.defaults.at else waits
    sentence = "asks, reminds, and hands over" if new.is_question else "tells those concerned"
    text = played_story(book, opening, waits, sentence)
    return f"# yaml-language-server: $schema=../.schema/test.schema.json\n{text}"
