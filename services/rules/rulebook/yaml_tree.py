"""A YAML 1.2 text as a tree that knows line and column of every key and value, read in bounded time and memory.

Plain ``on``, ``no`` and ``yes`` are words. Keys are always words, so ``812:`` is the key ``"812"``. The tree is built
from the events of libyaml, without recursion; an alias shares the node it names. Where a text is no YAML and its
mistake can be told, it is mended, so that the rest of it is checked too.
"""

import math
import re
from calendar import monthrange
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from itertools import pairwise
from sys import intern
from typing import Any

from msgspec import Struct
from yaml import events as kinds
from yaml._yaml import CParser
from yaml.error import MarkedYAMLError, YAMLError

from services.rules.rulebook.faults import A_LANGUAGE, FaultReport
from services.rules.rulebook.meant_conditions import meant_condition
from services.rules.rulebook.model import Location, Verb
from services.rules.rulebook.yaml_characters import mend_characters
from services.rules.rulebook.yaml_line_mistakes import mistyped_key
from services.rules.rulebook.yaml_lines import (
    FIRST_KEYS,
    HOLD_CONDITIONS,
    KEYS,
    FileText,
    Mistake,
    bare_line,
    lines_of_item,
    read_line,
)
from services.rules.rulebook.yaml_mistakes import find_mistake
from services.rules.rulebook.yaml_nodes import Faulty, MappingNode, Node, Plain, ScalarNode, SequenceNode
from services.rules.rulebook.yaml_signs import mend_signs

DEEPEST = 50
"""Nested collections; a rule that a person writes has about ten."""
MOST_REPEATED = 100_000
"""Nodes of one file that aliases repeat."""
LARGEST_NUMBER = 2**53
"""A larger number is not exact in every reader of JSON."""
_RICH_TEXT = "{\\rtf"
_ENDS_A_LINE = ("no text may hold the character U+2028", "no text may hold the character U+2029")
"""A line of another program's, whose rest is read as a part of the line above."""
_MOST_MISTAKES = 20
"""Mistakes of grammar that are mended in one file."""
_LONGEST_SEARCHED = 20_000
"""Characters of a file that is read again for each further mistake; the longest of people's have some 10,000."""
_MOST_SEARCHED = 5
"""Mistakes beside which, and on the way to which, a further one is looked for."""


def parse(file: str, text: str, report: FaultReport) -> Node | None:
    """The tree of one file; None for an empty file and for one that cannot be read, which is reported.

    Of the mistakes of grammar in a step, in a story or below a key of the file, the first is reported, and those that
    do not follow from it.
    """
    if text.startswith(_RICH_TEXT):
        report.add(Location(file, 1, 1), "this is rich text (RTF) of a word processor; save it as plain text in UTF-8")
        return None
    written, mistakes = mend_characters(text)
    written, signs = mend_signs(written)
    mistakes += signs
    mended, last, line, spoilt = written, (0, 0), 0, {mistake.line for mistake in mistakes}
    _report_characters(file, mistakes, report)
    moved: list[Mistake] = []
    told: dict[int, str] = {}
    reported: list[int] = []
    for _ in range(_MOST_MISTAKES):
        found = _try(file, mended, report, told)
        if not isinstance(found, _Stopped):
            _leave_out(file, mended, moved, report)
            return found
        mistake = found.mistake
        if found.at <= last and mistake.line >= line:
            return None  # mending the last mistake did not help, and this is what it led to
        is_odd = told.get(mistake.line, mistake.sentence) != mistake.sentence
        follows = _follows(mistake, moved) or (is_odd and not _is_found_alone(file, written, reported, mistake))
        if mistake.line not in spoilt and not follows:
            told |= dict.fromkeys(lines_of_item(mended.lines(), mistake.line), mistake.sentence)
            reported.append(mistake.line)
            place = Location(file, mistake.line, mistake.column)
            report.repeated(place, mistake.sentence, mistake.misplaced, may_be_moved=mistake.is_aside)
        moved += [mistake] if mistake.is_aside else []
        if mistake.mended is None:
            return None
        mended, last, line = mistake.mended, found.at, mistake.line
    return None


def _is_found_alone(file: str, text: FileText, others: Collection[int], mistake: Mistake) -> bool:
    """Whether the mistake is found without the lines of ``others`` too. It is not looked for beside many others."""
    if mistake.line in others or len(others) > _MOST_SEARCHED or len(text.text) > _LONGEST_SEARCHED:
        return False
    for number in others:
        text = text.with_line(number - 1, "")
    last = (0, 0)
    for _ in range(_MOST_SEARCHED):
        found = _try(file, text, FaultReport(), ())
        if not isinstance(found, _Stopped) or found.at <= last:
            return False
        if (found.mistake.line, found.mistake.sentence) == (mistake.line, mistake.sentence):
            return True
        if found.mistake.mended is None:
            return False
        text, last = found.mistake.mended, found.at
    return False


def _report_characters(file: str, mistakes: Iterable[Mistake], report: FaultReport) -> None:
    for mistake in mistakes:
        report.add(Location(file, mistake.line, mistake.column), mistake.sentence)
        if mistake.sentence.startswith(_ENDS_A_LINE):
            report.mark_misread(file, range(mistake.line, mistake.line + 2))


def _follows(mistake: Mistake, moved: list[Mistake]) -> bool:
    """Whether the lines of one item were ``moved`` together, or one line twice, which is one mistake."""
    if not moved or not mistake.is_aside:
        return False
    return mistake.line in (moved[-1].line, moved[-1].line + 1)


def _leave_out(file: str, mended: FileText, moved: list[Mistake], report: FaultReport) -> None:
    """Other faults of an item that has ``moved`` lines may follow from them."""
    for mistake in moved:
        report.mark_misread(file, lines_of_item(mended.lines(), mistake.line))


class _Stopped(Struct):
    """The mistake at which the file cannot be read further, and where that was noticed."""

    mistake: Mistake
    at: tuple[int, int]


class _Unreadable(Exception):
    """The file cannot be read further, for a reason beside its grammar."""

    def __init__(self, sentence: str, location: Location, mended: FileText | None = None) -> None:
        super().__init__(sentence)
        self.location = location
        self.mended = mended


def _try(file: str, text: FileText, report: FaultReport, told: Collection[int]) -> Node | _Stopped | None:
    """Reports what is wrong beside the grammar, but for ``told`` lines, unless the file cannot be read to its end."""
    own = FaultReport()
    builder = _Builder(file, text, own)
    try:
        builder.build()
    except _Unreadable as error:
        at = (error.location.line, error.location.column)
        return _Stopped(Mistake(*at, str(error), error.mended), at)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return _Stopped(find_mistake(text, error), (mark.line + 1, mark.column + 1) if mark else (1, 1))
    except (YAMLError, ValueError, ArithmeticError, LookupError, UnicodeError):  # odd escapes and directives
        at = (builder.last.line, builder.last.column)
        return _Stopped(Mistake(*at, "this cannot be read from here on; write it as another file does"), at)
    report.faults += [fault for fault in own.faults if fault.location.line not in told]
    report.repeating |= own.repeating
    if builder.root is None:
        report.add(Location(file, 1, 1), "the file is empty")
    return builder.root


class _Open(Struct, gc=False):
    """A collection that is not complete: ``key`` belongs to the next value, ``size`` includes repeated nodes."""

    location: Location
    mapping: bool
    in_braces: bool
    anchor: str | None
    size: int
    items: list[Node]
    nodes: dict[str, Node]
    keys: dict[str, Location]
    key: str | None = None
    key_end: Any = None
    """The mark behind the latest key."""
    awaits_value: bool = False
    repeats: bool = False
    """Whether the key before was there already."""
    has_twice: bool = False
    """Whether a key of a step is there again, which ``_AGAIN`` marks."""


_CLOSING_QUOTES = {"“": "”", "„": "“", "«": "»"}
_OPENING_QUOTES = frozenset(_CLOSING_QUOTES)
_ANY_QUOTE = re.compile("[“”„«»]")
_CODE = re.compile(r"[a-z0-9_.:, -]*[_.:0-9-][a-z0-9_.:, -]*|[a-z]+|.*\[.*")
"""A word of a closed set, a name, a time or a list, whose own sentence says that quotes are none of its letters."""
_SHOWN_QUOTES = "typographic quotes count as letters, and are shown with the words; take them away"
_QUESTION_MARK = re.compile(r"(?P<lead>[ ]*(?:-[ ]+)*)\?[ ]+")


class _Builder:
    """``last`` is the location of the latest event."""

    def __init__(self, file: str, text: FileText, report: FaultReport) -> None:
        self.root: Node | None = None
        self.last = Location(file, 1, 1)
        self._file = file
        self._text = text
        self._report = report
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int] | None] = {}
        self._unused_anchors: dict[str, Location] = {}
        self._repeated = 0
        self._has_number_signs = "#" in text.text and _SPACE_AND_NUMBER_SIGN.search(text.text) is not None

    def build(self) -> None:
        parser = CParser(self._text.text)
        try:
            while (event := parser.get_event()) is not None:
                self._take(event)
        finally:
            parser.dispose()
        for anchor, location in self._unused_anchors.items():
            self._report.add(location, f'a text that begins with “&” stands in quotes: "&{anchor} …"')

    def _take(self, event: Any) -> None:
        kind = type(event)
        if kind is kinds.ScalarEvent:
            self._take_scalar(event)
        elif kind is kinds.MappingEndEvent or kind is kinds.SequenceEndEvent:
            self._end(event)
        elif kind is kinds.SequenceStartEvent or kind is kinds.MappingStartEvent:
            self._begin(event, self._locate(event.start_mark), mapping=kind is kinds.MappingStartEvent)
        elif kind is kinds.AliasEvent:
            self._repeat(event, self._locate(event.start_mark))
        elif kind is kinds.DocumentStartEvent and self.root is not None:
            sentence = "a file holds one document; a second begins here; write it into a file of its own"
            raise _Unreadable(sentence, self._locate(event.start_mark))

    def _take_scalar(self, event: Any) -> None:
        location = self._locate(event.start_mark)
        value, style = event.value, event.style
        if style in ("|", ">") and not value.strip():
            self._report_empty_text(location)
        if style or event.tag is not None or value in _WORDS or value[0] in _ODD_BEGINNINGS:
            node = _scalar(event, location, self._report)
            if value[:1] in _OPENING_QUOTES and not style:
                self._report_quotes(node)
        else:  # nearly every value is a plain word
            node = ScalarNode(location, text := intern(value), text)
        if self._has_number_signs and not style and value:
            self._report_number_sign(event)
        self._keep(node, 1, event, event.anchor)

    def _report_empty_text(self, location: Location) -> None:
        lines, key = self._text.lines(), self._open[-1].key if self._open else None
        if location.line < len(lines) and key is not None and read_line(lines, location.line).key == key:
            return  # the same key again, which is reported as that
        place = Location(location.file, location.line + 1, 1)
        self._report.add(place, "the text below “>” or “|” begins further right than its key; indent it")

    def _report_quotes(self, node: ScalarNode) -> None:
        """Words between typographic quotes, which are shown with them. A single word is said where it is read; the
        text of a story's message may have them.
        """
        inner = node.text[1:-1]
        is_whole = node.text[-1] == _CLOSING_QUOTES[node.text[0]] and not _ANY_QUOTE.search(inner)
        is_text = bool(self._open) and self._open[-1].key == "text"
        if is_whole and not is_text and not _CODE.fullmatch(inner):
            self._report.refuse(node.location, _SHOWN_QUOTES, once=True)

    def _report_number_sign(self, event: Any) -> None:
        """A plain text that ends at “#1”, which begins a comment; comments of people begin with a word."""
        text, mark = self._text.text, event.end_mark
        line = text[mark.index : text.find("\n", mark.index) % (len(text) + 1)]
        if (found := _NUMBER_SIGN.match(line)) is None:
            return
        place = Location(self._file, mark.line + 1, self._column(mark) + found.start("sign") + 1)
        whole = f"{event.value} {line.strip()}"
        quote = "'" if '"' in whole else '"'
        sentence = f"a space and “#” begin a comment; a text with “#” in it stands in quotes: {quote}{whole}{quote}"
        self._report.add(place, sentence)

    def _locate(self, mark: Any) -> Location:
        column = self._column(mark) if self._text.shifts else mark.column
        self.last = Location(self._file, mark.line + 1, column + 1)
        return self.last

    def _column(self, mark: Any) -> int:
        return self._text.original_column(mark.line, mark.column)

    def _begin(self, event: Any, location: Location, *, mapping: bool) -> None:
        if len(self._open) >= DEEPEST:
            raise _Unreadable(f"this is nested more than {DEEPEST} deep", location)
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # an anchor that nothing repeats is no mistake here: a text has none
        self._open.append(_Open(location, mapping, bool(event.flow_style), event.anchor, 1, [], {}, {}))

    def _end(self, event: Any) -> None:
        done = self._open.pop()
        if done.in_braces and len(done.nodes) > 1 and all(_is_empty(each) for each in done.nodes.values()):
            listed = ", ".join(done.nodes)
            self._report.add(done.location, f"several values stand in brackets, and not in braces: [{listed}]")
        if done.has_twice:
            for part in self._steps_apart(done):
                self._keep(part, done.size, event, None)
            return
        node: Node = (
            MappingNode(done.location, done.nodes, tuple(map(done.keys.__getitem__, done.nodes)), done.in_braces)
            if done.mapping
            else SequenceNode(done.location, tuple(done.items))
        )
        self._keep(node, done.size, event, done.anchor)

    def _repeat(self, event: Any, location: Location) -> None:
        anchor = event.anchor
        self._unused_anchors.pop(anchor, None)
        if anchor not in self._anchors:
            near = get_close_matches(anchor, self._anchors, 1)
            meant = f"did you mean “*{near[0]}”?" if near else "a text that begins with “*” stands in quotes"
            sentence = f"“*{anchor}” repeats what stands behind “&{anchor}” further above, and there is none; {meant}"
            mark = event.start_mark
            raise _Unreadable(sentence, location, self._text.quote_value(mark.line, mark.column))
        known = self._anchors[anchor]
        if known is None:
            raise _Unreadable(f"“*{anchor}” stands within itself", location)
        node, size = known
        self._repeated += size
        if self._repeated > MOST_REPEATED:
            raise _Unreadable(f"the aliases of this file repeat more than {MOST_REPEATED:,} values", location)
        self._keep(node, size, event, None)

    def _keep(self, node: Node, size: int, event: Any, anchor: str | None = None) -> None:
        """Add a complete node to its parent: as the root, an item, a key or a value."""
        if anchor is not None:
            if type(node) is ScalarNode:
                self._unused_anchors.setdefault(anchor, node.location)
            self._anchors[anchor] = (node, size)
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        parent.size += size
        if not parent.mapping:
            parent.items.append(node)
        elif not parent.awaits_value:
            self._key(parent, node, event)
        else:
            parent.awaits_value = False
            self._value(parent, node, event)

    def _key(self, parent: _Open, node: Node, event: Any) -> None:
        parent.awaits_value, parent.key, parent.key_end = True, None, event.end_mark
        is_plain = type(event) is kinds.ScalarEvent and not event.style
        if type(node) is ScalarNode and is_plain and "{" in node.text:
            self._refuse_brace(node, event)
        if len(self._open) == 1 and parent.keys and type(node) is ScalarNode and node.text in FIRST_KEYS:
            self._refuse_further_file(parent, node)
        if type(node) is not ScalarNode:
            self._key_in_signs(parent, node)
        elif node.text in parent.keys and self._is_step():
            parent.has_twice, parent.key = True, f"{node.text}{_AGAIN}{len(parent.keys)}"
            parent.keys[parent.key] = node.location
        elif node.text in parent.keys:
            if not parent.repeats:  # of several in turn the first is said: the key above them is missing
                sentence = _written_twice(node.text, parent.keys[node.text])
                needs = (A_LANGUAGE,) if node.text in _OF_A_LANGUAGE else ()
                self._report.add(node.location, sentence, needs=needs, misplaced=node.text, may_be_moved=True)
            self._report.repeating.add(self._file)
            parent.repeats = True
            known = parent.nodes.get(node.text)
            if known is not None and _is_empty(known):
                parent.key = node.text  # the first has nothing, so the second counts
        else:
            parent.key, parent.repeats = node.text, False
            parent.keys[node.text] = node.location

    def _refuse_further_file(self, parent: _Open, node: ScalarNode) -> None:
        """The first key of a file that was appended to another one: the rest is not read."""
        below = {line.partition(":")[0] for line in self._text.lines()[node.location.line :]}
        is_second = node.text in parent.keys
        is_other = next(iter(parent.keys), node.text) in FIRST_KEYS and not _FURTHER_KEYS[node.text].isdisjoint(below)
        if not (is_second or is_other):
            return
        mended, place = self._text, node.location
        for number in range(place.line - 1, len(mended.lines())):
            mended = mended.with_line(number, "#")
        sentence = f"a {'second ' if is_second else ''}{node.text} begins here; write it into a file of its own"
        raise _Unreadable(sentence, place, mended)

    def _refuse_brace(self, node: ScalarNode, event: Any) -> None:
        """A word and a brace in place of a key: the colon between them is missing, or another sign stands there."""
        if (mistake := mistyped_key(self._text, self._text.lines(), event.start_mark.line)) is not None:
            raise _Unreadable(mistake.sentence, Location(self._file, mistake.line, mistake.column), mistake.mended)
        word, mark = node.text.partition("{")[0].rstrip(), event.start_mark
        if word.endswith(":") and _NAME.fullmatch(word[:-1]):
            place = Location(node.location.file, node.location.line, node.location.column + len(word))
            mended = self._text.with_insertion(mark.line, mark.column + len(word), " ")
            raise _Unreadable(f"a space is missing behind the colon: {word} {{…}}", place, mended)
        if " {" in node.text and _NAME.fullmatch(word):
            place = Location(node.location.file, node.location.line, node.location.column + len(word))
            mended = self._text.with_insertion(mark.line, mark.column + len(word), ":")
            raise _Unreadable(f"a colon is missing behind “{word}”", place, mended)

    def _key_in_signs(self, parent: _Open, node: Node) -> None:
        """A key between braces or brackets: the word within is taken for it. One of no word was reported already."""
        is_mapping = type(node) is MappingNode
        if isinstance(node, MappingNode) and not node.in_braces:
            self._refuse_question_mark(node)
        words = [*node.nodes] if isinstance(node, MappingNode) else _words_of(node)
        if is_mapping and not words:
            return
        if parent.in_braces and is_mapping and not parent.nodes:
            sentence = "rule files have no placeholders like {{ … }}; a text that begins so stands in quotes"
        elif len(words) == 1 and words[0] not in parent.keys:
            (parent.key,) = words
            parent.keys[parent.key] = node.location
            sentence = f"a key has no {'braces' if is_mapping else 'brackets'}; write {parent.key}: …"
        else:
            sentence = "a key is a single word; a text that begins so stands in quotes"
        self._report.add(node.location, sentence)

    def _refuse_question_mark(self, node: MappingNode) -> None:
        """A question mark and a space before a key make a key of the key and its value."""
        number = node.location.line - 1
        line = bare_line(self._text.lines(), number)
        if (found := _QUESTION_MARK.match(line)) is not None:
            place = Location(self._file, number + 1, found.end("lead") + 1)
            mended = self._text.with_line(number, line[: found.end("lead")] + line[found.end() :])
            raise _Unreadable(f"“?” begins no key; write {next(iter(node.nodes), 'key')}: …", place, mended)

    def _is_step(self) -> bool:
        """Whether the innermost mapping is an item of “steps” on lines of its own."""
        *_, above, items, step = [None, None, *self._open]
        is_item = above is not None and items is not None and above.mapping and not items.mapping
        return is_item and above is not None and above.key == "steps" and step is not None and not step.in_braces

    def _steps_apart(self, done: _Open) -> list[Node]:
        """A step in which keys are there twice: two steps, the second without a dash, or a mistake as elsewhere."""
        names = list(done.nodes)
        start = next(place for place, name in enumerate(names) if _AGAIN in name)
        while start > 1 and names[start - 1] in _BEGIN_A_STEP:
            start -= 1
        if not _VERBS.intersection(names[:start]) or not _VERBS.intersection(map(_plain, names[start:])):
            self._report_twice(done)
            return [_part_of_step(done, names)]
        begins = _plain(names[start])
        self._report.add(done.keys[names[start]], f"another step begins here; put a dash before “{begins}”")
        parts = (names[:start], names[start:])
        return [_part_of_step(done, part) for part in parts]

    def _report_twice(self, done: _Open) -> None:
        """Of several in turn the first is said: the key above them is missing."""
        for before, again in pairwise(done.nodes):
            if _AGAIN in again and _AGAIN not in before:
                name = _plain(again)
                sentence = _written_twice(name, done.keys[name])
                self._report.add(done.keys[again], sentence, misplaced=name, may_be_moved=True)

    def _value(self, parent: _Open, node: Node, event: Any) -> None:
        is_plain = type(event) is kinds.ScalarEvent and not event.style and event.tag is None
        if type(node) is ScalarNode and is_plain and not node.text:
            self._empty_value(parent, node, event)
        elif parent.key is not None:
            parent.nodes[parent.key] = node

    def _empty_value(self, parent: _Open, node: ScalarNode, event: Any) -> None:
        """Its place is behind the colon of its key, and not where the parser saw that there is none."""
        mark = parent.key_end
        node = ScalarNode(Location(self._file, mark.line + 1, self._column(mark) + 2), "", None)
        if parent.in_braces:
            self._bare_key(parent, node, event)
        elif parent.key is not None:
            parent.nodes[parent.key] = node

    def _bare_key(self, parent: _Open, node: ScalarNode, event: Any) -> None:
        """A key between braces without a colon: a comma within a text, or a space missing behind a colon."""
        key = parent.key
        if key is None:
            return
        behind = self._text.text[parent.key_end.index : event.start_mark.index + 1]
        if ":" not in behind and self._is_assigned(parent, key):
            return
        if ":" in behind or not (parent.nodes or ":" in key):
            if ":" in behind or not self._lacks_colon(parent, key, parent.keys[key]):
                parent.nodes[key] = node
            else:
                del parent.keys[key]
            return
        if not parent.nodes and key.endswith(":"):  # {finance:} has a key without a value
            location = parent.keys.pop(key)
            parent.keys[key[:-1]], parent.nodes[key[:-1]] = location, node
            return
        location = parent.keys.pop(key)
        name, colon, value = key.partition(":")
        if colon and value and name.isidentifier() and name not in parent.keys:
            self._report.add(location, f"a space is missing behind the colon: {name}: {value}")
            parent.keys[name] = location
            parent.nodes[name] = ScalarNode(location, value, _meaning(value))
            return
        if not (self._is_behind_quotes(parent) and self._lacks_colon(parent, key, location)):
            self._behind_comma(parent, key, node, location)

    def _is_assigned(self, parent: _Open, key: str) -> bool:
        """Another sign stands in place of the colon, which is reported. In a condition it may be a comparison."""
        found = _ASSIGNED.fullmatch(key)
        if found is None or any(each.key in HOLD_CONDITIONS for each in self._open) or found["key"] in parent.nodes:
            return False
        name, rest, location = found["key"], found["rest"], parent.keys.pop(key)
        place = Location(location.file, location.line, location.column + len(name) + 1)
        sentence = f"“{found['sign']}” does not follow a key; write {name}: {rest}"
        self._report.caused(place, sentence, f"{found['sign']} between the braces at {parent.location}")
        parent.keys[name], parent.nodes[name] = location, ScalarNode(location, rest, _meaning(rest))
        return True

    def _is_behind_quotes(self, parent: _Open) -> bool:
        """Whether the value before is a text in quotes, which no comma ends."""
        before = next(reversed(parent.nodes.values()), None)
        if not isinstance(before, ScalarNode):
            return False
        line = bare_line(self._text.lines(), before.location.line - 1)
        return line[before.location.column - 1 : before.location.column] in ("'", '"')

    def _lacks_colon(self, parent: _Open, key: str, location: Location) -> bool:
        """A word and more words stand where a key does: the colon between them is missing, which is reported."""
        word, _, rest = key.partition(" ")
        if not rest.strip() or not _NAME.fullmatch(word) or rest[0] in "-=<>!":
            return False
        place = Location(location.file, location.line, location.column + len(word))
        self._report.add(place, f"a colon is missing behind “{word}”: {word}: {rest}")
        parent.keys[word] = location
        parent.nodes[word] = ScalarNode(location, rest, _meaning(rest))
        return True

    def _behind_comma(self, parent: _Open, key: str, node: ScalarNode, location: Location) -> None:
        """A word behind a comma: one of several values, the rest of a number or of a text."""
        if not parent.nodes:
            self._report.add(
                location, f"“{key}” is no key: one has letters, digits, dots and “_”, and a colon behind it"
            )
            return
        before, known = next(reversed(parent.nodes.items()))
        if before not in KEYS and (meant := meant_condition(key)) is not None and meant.value:
            parent.keys[key], parent.nodes[key] = location, node  # said where conditions are read
            return
        if isinstance(known, ScalarNode) and not known.text and _NAME.fullmatch(key) and _NAME.fullmatch(before):
            parent.keys[key], parent.nodes[key] = location, node  # a list in braces: said once, at its end
        elif isinstance(known, ScalarNode) and known.text.isdigit() and _THOUSANDS.fullmatch(key):
            self._report.add(known.location, f"a number has no comma; write {known.text}{key}")
            parent.nodes[before] = ScalarNode(known.location, known.text + key, int(known.text + key))
        elif isinstance(known, ScalarNode) and isinstance(known.value, int) and key.isdigit():
            self._numbers(parent, before, known, ScalarNode(location, key, int(key)))
        elif isinstance(known, ScalarNode | SequenceNode) and before in _OF_SEVERAL and _NAME.fullmatch(key):
            earlier = known.nodes if isinstance(known, SequenceNode) else (known,)
            self._several(parent, before, (*earlier, ScalarNode(location, key, key)))
        elif isinstance(known, ScalarNode) and not (isinstance(known.value, int) and _NAME.fullmatch(key)):
            sentence = f"the comma before “{key}” ends the text of “{before}”; put the whole text in quotes"
            self._report.add(location, sentence)
            parent.nodes[before] = ScalarNode(known.location, f"{known.text}, {key}", f"{known.text}, {key}")
        else:
            self._report.add(location, f"“{key}” has no value; write “{key}: …”, or leave it out")

    def _numbers(self, parent: _Open, key: str, first: ScalarNode, second: ScalarNode) -> None:
        """Two numbers with a comma: a fraction where a single number stands, else two of a list."""
        if key in _WHOLE_NUMBERS:
            sentence = f"“{first.text},{second.text}” is no whole number; write {int(first.text) + 1}"
            self._report.add(first.location, sentence)
        else:
            self._several(parent, key, (first, second))

    def _several(self, parent: _Open, key: str, items: tuple[Node, ...]) -> None:
        """Values behind one key, with commas and without brackets: reported once, at the second."""
        shown = ", ".join(each.text for each in items if isinstance(each, ScalarNode))
        if not isinstance(parent.nodes[key], SequenceNode):
            self._report.add(items[1].location, f"several values stand in brackets: {key}: [{shown}]")
        parent.nodes[key] = SequenceNode(items[0].location, items)


_FURTHER_KEYS: Mapping[str, frozenset[str]] = {
    "rule": frozenset({"owner", "steps"}),
    "template": frozenset({"category", "languages"}),
    "form": frozenset({"welcome", "languages"}),
}
_OF_A_LANGUAGE = ("body", "buttons")
"""Keys that are said twice where the line of a language between them is missing."""
_AGAIN = "\0"
"""Marks a key that is in a step twice, until the step ends."""
_VERBS = frozenset(Verb)
_BEGIN_A_STEP = _VERBS | {"after", "at", "in", "unless"}


def _plain(name: str) -> str:
    return name.partition(_AGAIN)[0]


def _written_twice(key: str, first: Location) -> str:
    return f"“{key}” is said twice; the first is on line {first.line}"


def _part_of_step(done: _Open, names: list[str]) -> MappingNode:
    """The first value of each key."""
    nodes: dict[str, Node] = {}
    places: dict[str, Location] = {}
    for name in names:
        plain = _plain(name)
        if plain not in nodes or _is_empty(nodes[plain]):
            nodes[plain], places[plain] = done.nodes[name], done.keys[name]
    return MappingNode(next(iter(places.values()), done.location), nodes, tuple(places.values()))


def _words_of(node: Node) -> list[str]:
    items = node.nodes if isinstance(node, SequenceNode) else ()
    return [each.text for each in items if isinstance(each, ScalarNode) and each.text]


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and not node.text and node.value is None


_SPACE_AND_NUMBER_SIGN = re.compile(r"[ \t]#[0-9]")
_NUMBER_SIGN = re.compile(r"[ \t]+(?P<sign>#)[0-9]")
_OF_SEVERAL = frozenset(
    {"as", "roles", "days", "choose", "document", "rules", "waits_for", "tell", "ask", "hand_over", "on"}
)
"""Keys that take several words."""
_WHOLE_NUMBERS = frozenset({"max", "max_mb", "version", "quorum", "count", "mb"})
"""Keys of a single number, whose comma is that of a fraction."""
_NAME = re.compile(r"[a-z][a-z_.]*")
_ASSIGNED = re.compile(r"(?P<key>[a-z][a-z0-9_]*) ?(?P<sign>=|:=|=>|->|-(?= )|;) ?(?P<rest>[^=<>].*)")
_THOUSANDS = re.compile(r"[0-9]{3}")

# ------------------------------------------------------------------ what a scalar means

_FORBIDDEN_CHARACTERS = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_WORDS: Mapping[str, Plain] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMERIC = frozenset("+-.0123456789")
_ODD_BEGINNINGS = _NUMERIC | _OPENING_QUOTES
"""Signs with which plain text begins that may be more than a word."""
_WHOLE = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FRACTION = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.nan|\.NaN|\.NAN"
)
_INSTANT = re.compile(
    r"""\d{4}-\d\d-\d\d
    | \d{4}-\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?(?:[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?""",
    re.VERBOSE,
)


def _instant(text: str) -> date | datetime:
    return date.fromisoformat(text) if len(text) <= len("2027-03-03") else datetime.fromisoformat(text)


def _whole(text: str) -> int:
    number = int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if abs(number) > LARGEST_NUMBER:
        raise ValueError("too large")
    return number


def _fraction(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("no number")
    return number


_PATTERNS: tuple[tuple[re.Pattern[str], str, Callable[[str], Plain]], ...] = (
    (_WHOLE, "a number", _whole),
    (_FRACTION, "a number", _fraction),
    (_INSTANT, "a date", _instant),
)


def _meaning(text: str) -> Plain:
    """The value of a plain word. Raises ValueError where it looks like a number or a date and is none."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _NUMERIC:
        for pattern, _, read in _PATTERNS:
            if pattern.fullmatch(text):
                return read(text)
    return text


def _scalar(event: Any, location: Location, report: FaultReport) -> ScalarNode:
    """Reports a value that looks like a number or date and is none, and takes its text instead."""
    if event.style in ("|", ">") and not event.value.strip():
        return ScalarNode(location, "", Faulty(""))
    text = intern(event.value)  # words are few and said in every file: kept once, they are a tenth of a folder's memory
    if event.tag is not None and event.tag != "!":
        if event.tag.startswith("tag:yaml.org"):
            report.add(location, f"“!!{event.tag.rpartition(':')[2]}” says nothing here; take it away")
        else:
            report.add(location, f'a text that begins with “!” stands in quotes: "{event.tag} …"')
        return ScalarNode(location, text, text)
    if not event.implicit[0]:
        if found := _FORBIDDEN_CHARACTERS.search(text):
            report.add(location, f"no text may hold the character U+{ord(found[0]):04X}")
            text = _FORBIDDEN_CHARACTERS.sub("", text)
        return ScalarNode(location, text, text)
    try:
        return ScalarNode(location, text, _meaning(text))
    except ValueError:
        kind = next(kind for pattern, kind, _ in _PATTERNS if pattern.fullmatch(text))
        written = "this" if _WHOLE.fullmatch(text) else f"“{text}”"  # it may be a person's phone number
        why = _why_no_date(text) if kind == "a date" else ""
        report.add(location, f"{written} looks like {kind}, but is none{why}")
        return ScalarNode(location, text, Faulty(text))


def _why_no_date(text: str) -> str:
    """The end of the sentence about a date or a time that does not exist."""
    year, month, day = (int(each) for each in re.findall(r"[0-9]+", text)[:3])
    if not 1 <= month <= _MONTHS:
        return f": a year has {_MONTHS} months"
    last = monthrange(max(year, 1), month)[1]
    if not 1 <= day <= last:
        return f": {year}-{month:02} has {last} days"
    return ": hours are 00 to 23, minutes 00 to 59" if ":" in text else ""


_MONTHS = 12
