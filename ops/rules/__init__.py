"""``stet rules VERB``: the rule files. A new verb is a module of this package and a line of ``VERBS``.

A module has the function of its command, and little else: the substance is in ``services/rules``. It is imported when
its verb is called.
"""

from ops.command_line import command_group
from ops.lazy_commands import LazyCommand, LazyCommands

_WRITE, _JUDGE, _LOOK_UP, _HISTORY, _REVIEW = (
    "Write",
    "Judge",
    "Look up",
    "Look at what was decided",
    "Review and put into force",
)

VERBS = (
    LazyCommand(
        "new",
        "Write the first files of a rule: the rule, its templates, and a story that plays it.",
        _WRITE,
        module="rules.new",
        attribute="new_command",
    ),
    LazyCommand(
        "check",
        "Check a folder of rules: every fault at once with its place and how to mend it, then its stories.",
        _JUDGE,
        module="rules.check",
        attribute="check_command",
    ),
    LazyCommand(
        "test",
        "Play the stories of a folder of rules in virtual time, both sides of each conversation.",
        _JUDGE,
        module="rules.stories",
        attribute="stories_command",
    ),
    LazyCommand(
        "prove",
        "Prove what must always hold of a folder of rules, or show a story in which it does not.",
        _JUDGE,
        module="rules.prove",
        attribute="prove_command",
    ),
    LazyCommand(
        "graph",
        "Draw a rule as a flow with its people, times and answers.",
        _LOOK_UP,
        module="rules.graph",
        attribute="graph_command",
    ),
    LazyCommand(
        "fields",
        "List every field and fact that a rule on an event may name.",
        _LOOK_UP,
        module="rules.reference",
        attribute="fields_command",
    ),
    LazyCommand(
        "events",
        "List the events that may start a rule; one event with its fields and an example of each.",
        _LOOK_UP,
        module="rules.reference",
        attribute="events_command",
    ),
    LazyCommand(
        "operations",
        "List what “record” may write in Consonance, and what each operation needs.",
        _LOOK_UP,
        module="rules.reference",
        attribute="operations_command",
    ),
    LazyCommand(
        "reference",
        "Print the reference for authors as Markdown: events, facts, operations, verbs, times, reasons, and every key.",
        _LOOK_UP,
        module="rules.reference",
        attribute="reference_command",
    ),
    LazyCommand(
        "schema",
        "Print the JSON Schema of a kind of file, by which an editor completes its keys.",
        _LOOK_UP,
        module="rules.reference",
        attribute="schema_command",
    ),
    LazyCommand(
        "explain",
        "Say why an event, a chain or a message was decided so, and what comes next.",
        _HISTORY,
        module="rules.explain",
        attribute="explain_command",
    ),
    LazyCommand(
        "why-not",
        "Say why a rule did not write to a person about a subject.",
        _HISTORY,
        module="rules.why_not",
        attribute="why_not_command",
    ),
    LazyCommand(
        "diff",
        "Say what will change for whom, if other rules take the place of these.",
        _HISTORY,
        module="rules.diff",
        attribute="diff_command",
    ),
    LazyCommand(
        "bundle",
        "Write recorded decisions and events into one file without personal data.",
        _HISTORY,
        module="rules.bundle",
        attribute="bundle_command",
    ),
    LazyCommand(
        "replay",
        "Make the decisions of a bundle again, and compare them byte for byte.",
        _HISTORY,
        module="rules.replay",
        attribute="replay_command",
    ),
    LazyCommand(
        "rollout",
        "Which revision of the rules is in force, and putting one into force.",
        _REVIEW,
        module="rules.rollout",
    ),
    LazyCommand(
        "owners",
        "Print the CODEOWNERS of a rules repository: who is asked to review which file.",
        _REVIEW,
        module="rules.owners",
        attribute="owners_command",
    ),
    LazyCommand(
        "comment",
        "Post Markdown as one comment on the pull request of this pipeline, or update the one that is there.",
        _REVIEW,
        module="rules.comment",
        attribute="comment_command",
    ),
)
"""Every verb, in the order of the help: its name, its first sentence, and where it is."""

app = command_group("The rule files.", LazyCommands.of(VERBS))


@app.callback()
def _rules_group() -> None:
    """A group without commands of its own needs a callback."""
