"""A text that is no YAML, line by line as its author meant it, and how it is mended.

Mending inserts or replaces characters, and remembers where, so that the original columns of all others stay known.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

# ------------------------------------------------------------------ a text and its mended form


@dataclass(frozen=True, slots=True)
class FileText:
    """A text, perhaps with characters inserted: ``shifts`` has their columns by line, both from 0."""

    text: str
    shifts: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def original_column(self, line: int, column: int) -> int:
        inserted = self.shifts.get(line, ())
        return column - bisect_left(inserted, column)

    def lines(self) -> list[str]:
        """With their ends."""
        return split_lines(self.text)

    # -------------------------------------------------------------- mended

    def with_line(self, number: int, line: str, inserted: tuple[int, ...] = ()) -> "FileText":
        """Line ``number`` replaced by one that has ``inserted`` columns more, and else as many."""
        lines = self.lines()
        lines[number] = line + end_of(lines[number])
        shifts = dict(self.shifts)
        if inserted:
            known = list(self.shifts.get(number, ()))
            for column in inserted:
                known = [each + (each >= column) for each in known] + [column]
            shifts[number] = tuple(sorted(known))
        return FileText("".join(lines), shifts)

    def with_insertion(self, number: int, column: int, more: str) -> "FileText":
        bare = bare_line(self.lines(), number)
        columns = tuple(range(column, column + len(more)))
        return self.with_line(number, bare[:column] + more + bare[column:], columns)

    def with_replacement(self, number: int, column: int, length: int, other: str) -> "FileText":
        """Other characters, as many as before."""
        bare = bare_line(self.lines(), number)
        return self.with_line(number, bare[:column] + other + bare[column + length :])

    def quote_value(self, number: int, column: int) -> "FileText | None":
        """With the value that begins there, to the end of its lines, in quotes."""
        lines = self.lines()
        if number >= len(lines):
            return None
        found = read_line(lines, number)
        if column < found.start or (found.value[:1] in ("{", "[") and column > found.start):
            return None
        return self.with_quotes(found, column)

    def with_quotes(self, line: "TextLine", start: int) -> "FileText":
        """The plain text from ``start`` on, with the lines that continue it, between single quotes."""
        text, lines = self, self.lines()
        last = last_line_of(lines, line)
        for number in range(line.number, last + 1):
            bare = bare_line(lines, number)
            begin = start if number == line.number else len(bare) - len(bare.lstrip())
            end = len(COMMENT.sub("", bare).rstrip()) if number in (line.number, last) else len(bare)
            end = max(end, begin)
            text = text.with_range_in_quotes(number, begin, end, opens=number == line.number, closes=number == last)
        return text

    def with_range_in_quotes(
        self, number: int, begin: int, end: int, *, opens: bool = True, closes: bool = True
    ) -> "FileText":
        """Single quotes around a part of a line; those within are doubled."""
        bare = bare_line(self.lines(), number)
        inner, inserted, made = bare[begin:end], [], bare[:begin]
        if opens:
            inserted.append(len(made))
            made += "'"
        for character in inner:
            made += character
            if character == "'":
                inserted.append(len(made))
                made += "'"
        if closes:
            inserted.append(len(made))
            made += "'"
        return self.with_line(number, made + bare[end:], tuple(inserted))

    def requoted(self, number: int, begun: int, end: int) -> "FileText":
        """A part that begins with a quote, and perhaps ends with one, as one text between single quotes."""
        bare = bare_line(self.lines(), number)
        part = bare[begun:end]
        inner = part[1:-1] if len(part) > 1 and part[-1] == part[0] else part[1:]
        made = f"{bare[:begun]}'{inner.replace(chr(39), chr(39) * 2)}'{bare[end:]}"
        at = begun + len(inner)
        return self.with_line(number, made, tuple(range(at, at + max(0, len(made) - len(bare)))))


@dataclass(frozen=True, slots=True)
class Mistake:
    """Line and column count from 1. ``mended`` is None where the meaning cannot be guessed.

    ``misplaced`` is the key that stands where it does not belong, where that is the mistake. ``is_aside``: the line
    begins in another column than it should.
    """

    line: int
    column: int
    sentence: str
    mended: FileText | None = None
    misplaced: str | None = None
    is_aside: bool = False


_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


def split_lines(text: str) -> list[str]:
    """With their ends."""
    return _LINE.findall(text)


def end_of(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :]


def bare_line(lines: list[str], number: int) -> str:
    return lines[number].rstrip("\r\n")


# ------------------------------------------------------------------ a line as its author meant it

_PARTS = re.compile(
    r"""(?P<indent>[ ]*)(?P<dashes>(?:-[ ]+)*)
    (?:(?P<key>"[^"]*"|'[^']*'|[^\s"'\[\]{},\#&*!|>%@`-][^:]*?|-[^\s:][^:]*?)[ ]*:(?=\s|$))?[ \t]*""",
    re.VERBOSE,
)
COMMENT = re.compile(r"(?:^|[ \t])#.*$")
COLON = re.compile(r":(?=[ \t]|$)")
BLOCK_TEXT = re.compile(r"[|>][-+0-9]*[ \t]*(?:#.*)?$")
CLOSING = {"{": "}", "[": "]"}
NAMES = {"{": "brace", "[": "bracket", "}": "brace", "]": "bracket", '"': "quote", "'": "single quote"}
KEYS = frozenset(
    {
        "rule", "owner", "why", "severity", "on", "if", "about", "on_repeat",
        "on_change", "steps", "until", "tell", "ask", "remind", "collect", "hand_over",
        "record", "give_up", "say", "answers", "form", "after", "at", "unless",
        "with", "then", "template", "category", "version", "fields", "languages", "body",
        "buttons", "welcome", "confirm", "done", "teams", "imprints", "milestones", "stands_in",
        "inbox", "house", "country", "zone", "hours", "days", "closed", "fairs",
        "free", "pass", "taken_for", "send_within", "brake", "restarts", "publisher", "language", "countries",
        "line", "links", "basis", "words", "it", "start", "people", "play",
        "event", "facts", "reply", "read", "failed", "written", "wait", "expect",
        "end", "left_out", "from", "to", "who", "for", "as", "en",
        "fr", "de", "es", "nl", "pt",
    }
)  # fmt: skip
"""Words that are keys where they are followed by a colon, and nearly never within a text."""

FIRST_KEYS = ("rule", "template", "form")
"""The first key of each kind of file of which a folder has many."""

HOLD_CONDITIONS = frozenset({"if", "unless", "not"})
"""Keys behind which further keys stand in braces, or on the lines below."""
KEY_FIRST = re.compile(r"[a-z][a-z0-9_.]*: ")
STANDS_IN_BRACES = re.compile(
    r"(?:team|field|exists|is_not|at_least|at_most|more_than|less_than|includes|contains): [\w.\"'-]+$"
)
"""A key with a single value that stands behind another key: in ``{team: rights}`` its braces are missing."""


@dataclass(frozen=True, slots=True)
class TextLine:
    """``value`` is what stands behind the key and the dashes, from ``start`` on, without a comment."""

    number: int
    text: str
    indent: int
    dashes: str
    key: str | None
    start: int
    value: str

    @property
    def column(self) -> int:
        """Of the key, or of the value where there is none."""
        return self.indent + len(self.dashes)


def read_line(lines: list[str], number: int) -> TextLine:
    text = bare_line(lines, number)
    parts = _PARTS.match(text)
    assert parts is not None  # noqa: S101 -- every part may be empty
    value = text[parts.end() :]
    if value[:1] not in ('"', "'"):
        value = COMMENT.sub("", value)
    key = parts["key"]
    return TextLine(number, text, len(parts["indent"]), parts["dashes"], key, parts.end(), value.rstrip())


def line_above(lines: list[str], line: TextLine) -> TextLine:
    """The line before this one that is not blank; the line itself where there is none."""
    number = line.number - 1
    while number > 0 and not lines[number].strip():
        number -= 1
    return read_line(lines, max(number, 0))


def last_line_of(lines: list[str], first: TextLine, column: int | None = None) -> int:
    """The number of the last line that belongs to the value of ``first``: those that are indented more."""
    last, column = first.number, first.column if column is None else column
    for number in range(first.number + 1, len(lines)):
        text = bare_line(lines, number)
        if text.strip() and len(text) - len(text.lstrip(" ")) <= column and text.lstrip()[:1] not in ("}", "]"):
            break
        if text.strip():
            last = number
    return last


def lines_within_texts(lines: list[str]) -> frozenset[int]:
    """The lines, from 0, of texts that begin with | or >."""
    found: set[int] = set()
    for number in range(len(lines)):
        if number in found:
            continue
        line = read_line(lines, number)
        if BLOCK_TEXT.match(line.value):
            found.update(range(number + 1, last_line_of(lines, line) + 1))
    return frozenset(found)


_OUTERMOST_ITEM = 2
"""Spaces before a dash that begins an item of a whole file, like a step or a story."""


def lines_of_item(lines: list[str], number: int) -> range:
    """The lines, from 1, of the step or the story that a line belongs to, or of the key of the file."""
    first = last = min(number, len(lines)) - 1
    while first > 0 and not _begins_item(lines[first]):
        first -= 1
    while last + 1 < len(lines) and not _begins_item(lines[last + 1]):
        last += 1
    return range(first + 1, last + 2)


def _begins_item(line: str) -> bool:
    indent = len(line) - len(line.lstrip(" "))
    bare = line.strip()
    if not bare or bare.startswith("#"):
        return False
    return indent == 0 or (indent <= _OUTERMOST_ITEM and bare.startswith("- "))


def closing_quote(text: str, start: int) -> int | None:
    """The index of the quote that closes the one at ``start``."""
    quote, at = text[start], start + 1
    while at < len(text):
        if text[at] == "\\" and quote == '"':
            at += 2
            continue
        if text[at] == quote:
            if quote == "'" and text[at : at + 2] == "''":
                at += 2
                continue
            return at
        at += 1
    return None


# ------------------------------------------------------------------ sentences


def shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def not_closed(sign: str) -> str:
    closing = CLOSING.get(sign, sign)
    return f"the {NAMES[sign]} {sign} that begins here is not closed; add {closing} at its end"


BEGINS_WITH_PARAMETER = "the body begins with a parameter; Meta wants a word before it"


def more_follows(quote: str) -> str:
    kind, other = ("quote", "single") if quote == '"' else ("apostrophe", "double")
    return f"the text ends at this {kind}, and more follows; put the whole text in {other} quotes"
