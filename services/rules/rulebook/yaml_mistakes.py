"""The mistake of a person where a text is no YAML: the line of the mistake, a sentence, and the text mended.

A parser notices a mistake at or after its line, and names it in its own words. Here the lines are read as their author
meant them, from where the parser stopped upwards, for the mistakes that people make: those that one line shows, such as
a colon within a text, and an indentation that fits no line above. Each is mended as its sentence says, so that what
follows can be read.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile

from yaml.error import MarkedYAMLError

from services.rules.rulebook.yaml_characters import also_on_lines
from services.rules.rulebook.yaml_line_mistakes import assigned_value, find_in_line, mistyped_key, two_items
from services.rules.rulebook.yaml_lines import (
    BLOCK_TEXT,
    FIRST_KEYS,
    KEYS,
    FileText,
    Mistake,
    TextLine,
    bare_line,
    closing_quote,
    last_line_of,
    line_above,
    lines_within_texts,
    more_follows,
    read_line,
    shortened,
)

# ------------------------------------------------------------------ finding the mistake

_LONGEST_TEXT, _LONGEST_LINE = 500_000, 5_000
"""Characters; what is longer was not written by hand."""
_FARTHEST = 40
"""Lines that are looked at above the one where the parser stopped."""
_ENDS_OF_QUOTES = {"'": re.compile("(?<!')'(?!')"), '"': re.compile(r'(?<!\\)"')}
_FOREIGN_COMMENT = re.compile(r"//|--(?!-)|/\*|<!--|;")
_GENERAL = "this cannot be read from here on: compare this line and the one above with those of a file that is right"


def find_mistake(text: FileText, error: MarkedYAMLError) -> Mistake:
    """The mistake at which the parser stopped."""
    return _Search(text, error).find()


class _Search:
    def __init__(self, text: FileText, error: MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        self.text = text
        self.lines = text.lines()
        self.stopped = min(mark.line if mark else 0, max(len(self.lines) - 1, 0))
        self.column = mark.column if mark else 0
        context = error.context_mark.line if error.context_mark else self.stopped
        self.context = min(context, self.stopped)
        self.problem = error.problem or ""
        self.inside = lines_within_texts(self.lines) if len(text.text) <= _LONGEST_TEXT else frozenset()

    def find(self) -> Mistake:
        if (mistake := self._plain_case() or _foreign_line(self.text, self.lines) or self._other_file()) is not None:
            return mistake
        mistake = (
            self._unit_below()
            or self._mistyped_key()
            or self._quotes_end_early()
            or self._text_not_indented()
            or self._body_missing()
            or self._keyless_above()
            or self._language_missing()
            or self._dash_missing()
            or self._dash_aside()
            or self._two_items()
            or self._line_between()
            or self._outermost_key_aside()
            or self._key_aside()
        )
        if mistake is not None:
            return self._on_original(mistake)
        for number in self._candidates():
            if (mistake := find_in_line(self.text, self.lines, number)) is not None:
                return self._on_original(mistake)
        return self._on_original(self._beside_keys())

    def _other_file(self) -> Mistake | None:
        """Another file stands below the end of this one: stories below keys, or keys below stories."""
        if not self.lines:
            return None
        line = read_line(self.lines, self.stopped)
        first = next((read_line(self.lines, each) for each in range(self.stopped) if self._is_structure(each)), None)
        if first is None or line.indent or first.indent or self.stopped in self.inside:
            return None
        if line.dashes and line.key == "it" and first.key in FIRST_KEYS and not first.dashes:
            sentence = "stories begin here; write them into a file of their own, whose name ends with .test.yaml"
        elif not line.dashes and line.key in FIRST_KEYS and first.dashes:
            sentence = f"a {line.key} begins here; write it into a file of its own"
        else:
            return None
        mended = self.text
        for number in range(line.number, len(self.lines)):
            mended = mended.with_line(number, "#")
        return Mistake(line.number + 1, 1, sentence, mended)

    def _mistyped_key(self) -> Mistake | None:
        return None if self.stopped in self.inside else mistyped_key(self.text, self.lines, self.stopped)

    def _unit_below(self) -> Mistake | None:
        """The unit of a time stands on the line below its number, and no further right than its key."""
        for line in (read_line(self.lines, number) for number in range(self.stopped, max(-1, self.stopped - 2), -1)):
            above = self._structure_above(line.number)
            is_unit = line.key is None and not line.dashes and _UNIT.fullmatch(line.value) is not None
            if is_unit and above is not None and above.key and _NUMBER_OF.fullmatch(above.value):
                whole = f"{above.key}: {above.value} {line.value}"
                sentence = f"“{line.value}” belongs to the line above; write {whole}"
                end = above.start + len(above.value)
                mended = self.text.with_line(line.number, "#").with_insertion(above.number, end, f" {line.value}")
                return Mistake(line.number + 1, line.start + 1, sentence, mended)
        return None

    def _two_items(self) -> Mistake | None:
        return None if self.stopped in self.inside or not self.lines else two_items(self.text, self.lines, self.stopped)

    def _quotes_end_early(self) -> Mistake | None:
        """A quote within a text between quotes that stands on several lines: the text ends there, and more follows."""
        for number in range(self.stopped - 1, max(-1, self.stopped - _FARTHEST), -1):
            line = read_line(self.lines, number)
            quote = line.value[:1]
            if number in self.inside or not line.key or quote not in _ENDS_OF_QUOTES:
                continue
            if closing_quote(line.text, line.start) is not None:
                return None
            for below in range(number + 1, self.stopped + 1):
                bare = bare_line(self.lines, below)
                if self._is_structure(below) and read_line(self.lines, below).indent <= line.column:
                    return None  # it is another key, and not a further line of this text
                if (end := _ENDS_OF_QUOTES[quote].search(bare)) is None:
                    continue
                if not re.match(r"\w", bare[end.end() :]):
                    return None
                mended = self.text.with_insertion(below, end.start(), {"'": "'", '"': "\\"}[quote])
                return Mistake(below + 1, end.start() + 1, more_follows(quote), mended)
            return None
        return None

    def _beside_keys(self) -> Mistake:
        """A line without a key where keys are, or one that begins in no column of the file."""
        if "expected ':'" in self.problem:
            line = read_line(self.lines, self.context)
            if self._belongs_to_block(line):
                sentence = f"the text below “{line_above(self.lines, line).value}” begins further right than its key"
                return Mistake(line.number + 1, line.start + 1, f"{sentence}; indent it")
            if (foreign := _FOREIGN_COMMENT.match(line.value)) is not None and not line.key:
                return self._comment(line, foreign[0])
            sentence = f"a line of a file is “key: …”; “{shortened(line.value)}” has no colon"
            return Mistake(self.context + 1, line.start + 1, sentence)
        found = (
            self._ended() or self._story_without_dash() or self._indentation() or self._mixed() or self._keyless_item()
        )
        found = found or self._item_aside()
        return found or Mistake(self.stopped + 1, self.column + 1, _GENERAL)

    def _ended(self) -> Mistake | None:
        """Three dots end a document."""
        for number in range(self.stopped, -1, -1):
            if bare_line(self.lines, number).rstrip() == "...":
                mended = self.text.with_line(number, "#  ")
                return Mistake(number + 1, 1, "“...” ends what is read of a file; delete this line", mended)
        return None

    def _story_without_dash(self) -> Mistake | None:
        """The first story of a file lacks its dash, and the keys below it stand where they do behind one."""
        number = next((each for each in range(len(self.lines)) if self._is_structure(each)), None)
        line = read_line(self.lines, number) if number is not None else None
        if line is None or line.key != "it" or line.dashes or line.indent:
            return None
        sentence = f"a file of stories is a list: begin this one with a dash, “- it: {shortened(line.value)}”"
        return Mistake(line.number + 1, 1, sentence, self.text.with_insertion(line.number, 0, "- "))

    def _keyless_item(self) -> Mistake | None:
        """A story begins with words that no key stands before, and has keys below them."""
        number = self.stopped
        while number > 0 and (not self.lines[number].strip() or not read_line(self.lines, number).dashes):
            number -= 1
        line = read_line(self.lines, number) if self.lines else None
        if line is None or not line.dashes or line.key or not line.value or number == self.stopped:
            return None
        below = read_line(self.lines, self.stopped)
        if below.value[:1] == "{" and not below.dashes and line.value[:1] == "{":
            sentence = "an item of a list begins with a dash: “- {”"
            return Mistake(self.stopped + 1, below.start + 1, sentence)
        if read_line(self.lines, self.stopped).key not in ("start", "people", "play"):
            return None
        sentence = f"a story begins “- it: {shortened(line.value)}”"
        mended = self.text.with_insertion(number, line.start, "it: ")
        return Mistake(number + 1, line.start + 1, sentence, mended)

    def _belongs_to_block(self, line: TextLine) -> bool:
        """Whether the line above begins a text on the lines below it, and this one is not indented."""
        above = line_above(self.lines, line)
        return bool(BLOCK_TEXT.match(above.value)) and line.indent <= above.column

    def _comment(self, line: TextLine, sign: str, column: int | None = None) -> Mistake:
        start = line.start if column is None else column
        mended = self.text.with_replacement(line.number, start, len(sign), "#" + " " * (len(sign) - 1))
        return Mistake(line.number + 1, start + 1, f"a comment begins with “#”, not with “{sign}”", mended)

    def _no_character(self) -> Mistake:
        """An escape for half a character, or for none."""
        bare = bare_line(self.lines, self.stopped)
        at = max(bare.rfind("\\", 0, self.column + 1), 0)
        code = bare[at + 2 : at + 10] if bare[at + 1 : at + 2] == "U" else bare[at + 2 : at + 6]
        return Mistake(self.stopped + 1, at + 1, f"no text may hold the character U+{code.upper()}; delete it")

    def _escape(self) -> Mistake:
        bare = bare_line(self.lines, self.stopped)
        at = self.column if bare[self.column : self.column + 1] == "\\" else self.column - 1
        written = bare[at : at + 2]
        sentence = f"“{written}” means nothing between double quotes; put the text in single quotes"
        return Mistake(self.stopped + 1, at + 1, sentence, self.text.with_insertion(self.stopped, at, "\\"))

    def _plain_case(self) -> Mistake | None:
        """The mistake that the parser's own words tell, where no person wrote it."""
        here = (self.stopped + 1, self.column + 1)
        if not self.lines or len(self.text.text) > _LONGEST_TEXT or len(self.lines[self.stopped]) > _LONGEST_LINE:
            nested = self.problem == "exceeded maximum nesting depth"
            return Mistake(*here, "this is nested more than 50 deep" if nested else _GENERAL)
        if self.problem == "found invalid Unicode character escape code":
            return self._on_original(self._no_character())
        return self._on_original(self._escape()) if self.problem == "found unknown escape character" else None

    def _candidates(self) -> Iterator[int]:
        """From where the parser stopped upwards, without blank lines and those within a text of several lines."""
        first = max(0, min(self.context, self.stopped - _FARTHEST))
        if self.problem.startswith("found unexpected end of stream"):
            yield self.context
        for number in range(self.stopped, first - 1, -1):
            bare = self.lines[number].strip()
            if bare and not bare.startswith("#") and (number not in self.inside or number == self.stopped):
                yield number

    def _on_original(self, mistake: Mistake) -> Mistake:
        column = self.text.original_column(mistake.line - 1, mistake.column - 1) + 1
        return replace(mistake, column=column)

    # -------------------------------------------------------------- indentation

    def _above(self, number: int) -> Iterator[TextLine]:
        """The lines above, from the nearest on, without blank ones, comments and those within a text."""
        return (read_line(self.lines, each) for each in range(number - 1, -1, -1) if self._is_structure(each))

    def _structure_above(self, number: int) -> TextLine | None:
        return next(self._above(number), None)

    def _text_not_indented(self) -> Mistake | None:
        """The text below “>-” begins in the column of its key, and has a colon in it."""
        if not self.lines or not self._is_structure(self.stopped) or self.lines[self.stopped].lstrip(" ")[:1] == "\t":
            return None
        line, above = read_line(self.lines, self.stopped), self._structure_above(self.stopped)
        is_text = not line.dashes and line.key not in KEYS and (line.key is None or " " in line.key)
        if above is None or not is_text or not BLOCK_TEXT.match(above.value) or line.indent > above.column:
            return None
        mended, by = self.text, above.column + 2 - line.indent
        for number in range(line.number, len(self.lines)):
            each = read_line(self.lines, number)
            if self._is_structure(number) and (each.indent < line.indent or each.dashes or each.key in KEYS):
                if each.key == "buttons" and above.key == "body" and each.indent < above.indent:
                    return self._indented(above, each.indent, "“body”", each)
                break
            mended = mended.with_insertion(number, 0, " " * by)
        sentence = f"the text below “{above.value}” begins further right than its key; indent it"
        return Mistake(line.number + 1, line.start + 1 if line.key is None else line.indent + 1, sentence, mended)

    def _body_missing(self) -> Mistake | None:
        """Lines of text directly below a language of a template; “on” and “if” of a rule have two letters, too."""
        if not any(line.startswith("languages:") for line in self.lines):
            return None
        first = None
        for number in range(self.stopped, max(-1, self.stopped - _FARTHEST), -1):
            if not self._is_structure(number):
                continue
            line = read_line(self.lines, number)
            if not line.dashes and re.fullmatch("[a-z]{2}", line.key or "") and not line.value:
                break
            if line.dashes or line.key in KEYS or (line.key is not None and " " not in line.key):
                return None
            first = line
        else:
            return None
        if first is None or first.indent <= line.indent:
            return None
        sentence = f"the line “body: >-” is missing above this text: {shortened(first.text.strip())}"
        return Mistake(first.number + 1, first.indent + 1, sentence)

    def _keyless_above(self) -> Mistake | None:
        """A key below a line in the same column that has none, since its colon is missing or is another sign."""
        if not self.lines or not self._is_structure(self.stopped):
            return None
        line, above = read_line(self.lines, self.stopped), self._structure_above(self.stopped)
        if line.key is None or line.dashes or above is None or above.key is not None or above.dashes:
            return None
        if above.indent != line.indent or above.number in self.inside:
            return None
        return assigned_value(self.text, self.lines, above.number)

    def _language_missing(self) -> Mistake | None:
        """A language further left than the keys above it, which have none."""
        if not self.lines or not self._is_structure(self.stopped):
            return None
        line = read_line(self.lines, self.stopped)
        if line.dashes or re.fullmatch("[a-z]{2}", line.key or "") is None:
            return None
        further_right = list(takewhile(lambda each: each.column > line.indent, self._above(line.number)))
        below = further_right[-1] if further_right else None
        above = None if below is None else self._structure_above(below.number)
        if below is None or above is None or above.key != "languages" or above.value:
            return None
        if re.fullmatch("[a-z]{2}", below.key or "") and not below.value and below.indent > line.indent:
            return self._indented(below, line.indent, f"“{below.key}”", line)
        is_form = any(each.startswith("form:") for each in self.lines)
        is_text = below.key in {"body", "buttons"} or (is_form and not re.fullmatch("[a-z]{2}", below.key or ""))
        sentence = f"a language is missing above “{below.key}”, like “en:”"
        return Mistake(below.number + 1, below.indent + 1, sentence) if is_text else None

    def _dash_missing(self) -> Mistake | None:
        """The first key of an item has no dash, in the column of the dash of another item."""
        if not self.lines or not self._is_structure(self.stopped):
            return None
        line, first = read_line(self.lines, self.stopped), self._structure_above(self.stopped)
        if line.dashes or line.key is None or first is None or first.dashes or not first.value:
            return None
        if re.fullmatch("[a-z][a-z_ ]*", first.key or "") is None:
            return None
        other = self._next_further_left(line) or self._structure_above(first.number)
        if line.indent != first.column + 2 or other is None or not other.dashes or other.indent != first.column:
            return None
        sentence = (
            f"a dash is missing before “{first.key}”, which begins an item: - {first.key}: {shortened(first.value)}"
        )
        mended = self.text.with_insertion(first.number, first.column, "- ")
        return Mistake(first.number + 1, first.column + 1, sentence, mended)

    def _dash_aside(self) -> Mistake | None:
        """The keys of an item are indented as those of the next item, and its own dash is not."""
        if not self.lines or not self._is_structure(self.stopped):
            return None
        line, item = read_line(self.lines, self.stopped), self._structure_above(self.stopped)
        other = None if item is None or line.dashes or not item.dashes else self._next_further_left(line)
        if item is None or other is None or not other.dashes or other.column != line.indent:
            return None
        moved, by = self._indented(item, other.indent, f"“- {item.key}”", other), other.indent - item.indent
        mended = (
            self.text.with_insertion(item.number, 0, " " * by)
            if by > 0
            else self.text.with_line(item.number, bare_line(self.lines, item.number)[-by:])
        )
        return replace(moved, mended=mended) if by else None

    def _next_further_left(self, line: TextLine) -> TextLine | None:
        """The first line below that begins further left."""
        below = (number for number in range(line.number + 1, len(self.lines)) if self._is_structure(number))
        return next(
            (each for each in (read_line(self.lines, number) for number in below) if each.indent < line.indent), None
        )

    def _line_between(self) -> Mistake | None:
        """A line of another section, words, or a comment with another sign, between a key and what stands below it."""
        if not self.lines or not self._is_structure(self.stopped):
            return None
        line, odd = read_line(self.lines, self.stopped), self._structure_above(self.stopped)
        opens = None if odd is None else self._structure_above(odd.number)
        if odd is None or opens is None or not opens.key:
            return None
        if (foreign := _FOREIGN_COMMENT.match(odd.text.strip())) is not None and (odd.key or not opens.value):
            return self._comment(odd, foreign[0], odd.indent)
        if odd.dashes or opens.value or line.indent <= opens.column:
            return None
        return self._words_between(line, odd, opens) if odd.key is None else self._key_between(odd, opens)

    def _key_between(self, odd: TextLine, opens: TextLine) -> Mistake | None:
        is_key = _is_plain_key(odd.key) and _SINGLE_VALUE.fullmatch(odd.value) is not None
        if not is_key or not self._stands_further_out(odd, opens):
            return None
        sentence = f"“{odd.key}” stands between “{opens.key}” and what belongs to it; move this line"
        mended = self.text.with_line(odd.number, "#")
        return Mistake(odd.number + 1, odd.indent + 1, sentence, mended, odd.key)

    def _words_between(self, line: TextLine, odd: TextLine, opens: TextLine) -> Mistake | None:
        """Words where keys belong; a key of the line whose colon is missing is another mistake."""
        words = odd.text.strip()
        if words == "...":
            return self._ended()
        if " " not in words or not line.key or find_in_line(self.text, self.lines, odd.number) is not None:
            return None
        sentence = f"“{shortened(words)}” is no key of “{opens.key}”; a comment begins with “#”"
        return Mistake(odd.number + 1, odd.indent + 1, sentence, self.text.with_line(odd.number, "#"))

    def _stands_further_out(self, odd: TextLine, opens: TextLine) -> bool:
        """Whether the line is none of those that belong to the key above it: of two, a key of the first column."""
        return odd.column < opens.column or (odd.column == opens.column and self._is_outermost(odd))

    def _outermost_key_aside(self) -> Mistake | None:
        """Two keys of the first column, of which the lower is indented."""
        if not self.lines or not self._is_structure(self.stopped) or self.lines[self.stopped].lstrip(" ")[:1] == "\t":
            return None
        line, above = read_line(self.lines, self.stopped), self._structure_above(self.stopped)
        if above is None or above.indent or not line.indent or not self._is_outermost(above, line):
            return None
        return self._indented(line, 0, f"“{line.key}”", above)

    def _is_outermost(self, *lines: TextLine) -> bool:
        """Whether their keys stand in the first column of a file of this kind, and nowhere else."""
        kinds = {each.partition(":")[0] for each in self.lines} & _OUTERMOST.keys()
        return any(_OUTERMOST[kind].issuperset(each.key for each in lines) for kind in kinds)

    def _key_aside(self) -> Mistake | None:
        """A key with a value of one word, and another key below that is indented more: one of them is moved."""
        if not self.lines or not self._is_structure(self.stopped):
            return None
        line, owner = read_line(self.lines, self.stopped), self._structure_above(self.stopped)
        if owner is None or line.dashes or not _is_plain_key(line.key) or not _is_plain_key(owner.key):
            return None
        if line.indent <= owner.column or not _SINGLE_VALUE.fullmatch(owner.value):
            return None
        before = self._structure_above(owner.number)
        if before is not None and before.column == line.indent and not owner.dashes and before.key:
            return self._indented(owner, before.column, f"“{owner.key}”", before)
        if before is not None and before.key and not before.value and before.column == owner.column:
            return self._indented(owner, line.indent, f"“{owner.key}”", line)
        return self._below_missing_line(line, self._indented(line, owner.column, f"“{line.key}”", owner))

    def _below_missing_line(self, line: TextLine, moved: Mistake) -> Mistake:
        """The line is ``moved``, or the one that it belongs below is missing."""
        missing = self._missing_line(line)
        if missing is None:
            return moved
        sentence = f"the line “{missing}:” is missing above “{line.key}”, which is indented by {line.indent} spaces"
        return replace(moved, sentence=sentence, misplaced=None)

    def _missing_line(self, line: TextLine) -> str | None:
        """The key of the first column that the line belongs below, where a form or house.yaml lacks it."""
        keys = {each.partition(":")[0] for each in self.lines}
        if "form" in keys and "fields" not in keys and line.key not in KEYS:
            return "fields"
        if "publisher" in keys and "basis" not in keys and line.key not in KEYS:
            return "basis"
        is_language = re.fullmatch("[a-z]{2}", line.key or "") is not None
        return "words" if is_language and "publisher" in keys and "words" not in keys else None

    def _item_aside(self) -> Mistake | None:
        """An item of a list that is indented as the keys of the item above it are."""
        if not self.lines or not self._is_structure(self.stopped):
            return None
        line, levels = read_line(self.lines, self.stopped), dict[int, TextLine]()
        if not line.dashes:
            return None
        for number in range(line.number):
            if self._is_structure(number):
                each = read_line(self.lines, number)
                levels = {column: known for column, known in levels.items() if column < each.indent}
                if each.dashes:
                    levels[each.indent] = each
        last = max(levels, default=0)
        near = min(levels, key=lambda column: (abs(column - line.indent), column != last), default=line.indent)
        if near == line.indent:
            return None
        return self._indented(line, near, f"“- {line.key or shortened(line.value)}”", levels[near])

    def _indentation(self) -> Mistake | None:
        """The line begins in a column of its own: no key or dash above it begins there."""
        number = self.stopped
        while number >= 0 and not self.lines[number].strip():
            number -= 1
        if number <= 0:
            return None
        line = read_line(self.lines, number)
        above = [read_line(self.lines, each) for each in range(number) if self._is_structure(each)]
        if not above:
            return None
        return self._fallen_out(above, line) or self._value_twice(above, line) or self._beside_no_column(above, line)

    def _value_twice(self, above: list[TextLine], line: TextLine) -> Mistake | None:
        """A key has a value on its line, and a list or keys below it."""
        key = above[-1]
        if not line.dashes or not key.key or not key.value or line.indent <= key.indent or key.dashes:
            return None
        keys = {each.partition(":")[0] for each in self.lines}
        missing = next((list_key for kind, list_key in _LIST_OF.items() if kind in keys and list_key not in keys), None)
        if missing is not None and key.indent == 0:
            sentence = f"the line “{missing}:” is missing above this list"
            return Mistake(line.number + 1, line.indent + 1, sentence)
        sentence = f"“{key.key}” has “{shortened(key.value)}” on its line and a list below; take one of them away"
        return Mistake(key.number + 1, key.start + 1, sentence)

    def _beside_no_column(self, above: list[TextLine], line: TextLine) -> Mistake | None:
        if all(each.indent > 0 for each in above) and line.indent == 0:
            return self._indented(above[0], 0, f"“{above[0].key or above[0].value}”", line)
        levels: dict[int, TextLine] = {}
        for each in above:
            levels = {column: known for column, known in levels.items() if column < each.indent}
            levels[each.indent] = each
            levels[each.column] = each
        open_levels = {column: known for column, known in levels.items() if known.key or known.dashes}
        if not open_levels or line.indent in open_levels:
            return None
        items = {at: known for at, known in open_levels.items() if known.dashes and known.indent == at}
        open_levels = items if line.dashes and items else open_levels
        column = min(
            open_levels,  # of two that are as near, the one whose keys have a value on their line, as this one has
            key=lambda each: (abs(each - line.indent), bool(open_levels[each].value) is not bool(line.value), -each),
        )
        like = open_levels[column]
        if line.dashes and not like.dashes and (above_it := self._key_above(like)) in _LISTS:
            first = self._sibling(like) or like
            item = first.key or shortened(first.value)
            sentence = f"“{above_it}” is a list: begin each item with a dash, “- {item}” too"
            return Mistake(first.number + 1, first.indent + 1, sentence)
        if like.key and not like.dashes and like.indent < line.indent and self._is_below_nothing(like):
            return self._indented(like, line.indent, f"“{like.key}”", line)
        return self._indented(line, column, f"“{line.key or shortened(line.value)}”", open_levels[column])

    def _is_below_nothing(self, line: TextLine) -> bool:
        """Whether the key above has nothing below it, and the line begins in its column."""
        opens = self._structure_above(line.number)
        is_open = opens is not None and bool(opens.key) and not opens.value and not opens.dashes
        return opens is not None and is_open and opens.column == line.indent

    def _fallen_out(self, above: list[TextLine], line: TextLine) -> Mistake | None:
        """The line before this one stands further left than the one before it, where this one goes on as before."""
        *_, before, odd = [None, None, *above]
        if before is None or odd is None or not (odd.key and odd.value and before.key) or odd.dashes:
            return None
        if odd.indent < line.indent < before.column and line.dashes and odd.key in KEYS:
            return self._indented(odd, before.column, f"“{odd.key}”", before)
        return None

    def _indented(self, line: TextLine, column: int, name: str, like: TextLine) -> Mistake:
        """Moves the line, and those below that are indented more, to ``column``."""
        other = like.key or shortened(like.value) or "-"
        spaces = {0: "nothing", 1: "1 space"}.get(line.indent, f"{line.indent} spaces")
        should = "none" if column == 0 else f"{column}"
        where = "above" if like.number < line.number else "below"
        sentence = (
            f"{name} is indented by {spaces}, and “{other}” {where} it by {should}; begin both in the same column"
        )
        mended, by = self.text, column - line.indent
        last = last_line_of(self.lines, line, max(line.indent, column))
        for number in range(line.number, (self._last_of_item(line, column) or last) + 1):
            bare = bare_line(self.lines, number)
            if not bare.strip():
                continue
            if by > 0:
                mended = mended.with_insertion(number, 0, " " * by)
            elif bare[:-by].isspace():
                mended = mended.with_line(number, bare[-by:])
        return Mistake(line.number + 1, line.indent + 1, sentence, mended, line.key, is_aside=True)

    def _last_of_item(self, line: TextLine, column: int) -> int | None:
        """The last line of an item whose keys stand in the column of its first one: all were moved together."""
        below = [
            read_line(self.lines, each) for each in range(line.number + 1, len(self.lines)) if self.lines[each].strip()
        ]
        if not line.dashes or not below or below[0].indent != line.column:
            return None
        ends = (each for each in below if each.indent < line.column or (each.dashes and each.indent <= column))
        end = next(ends, None)
        return len(self.lines) - 1 if end is None else end.number - 1

    def _is_structure(self, number: int) -> bool:
        bare = self.lines[number].strip()
        return bool(bare) and not bare.startswith("#") and number not in self.inside

    def _mixed(self) -> Mistake | None:
        """A dash among keys, or keys among dashes, that begin in one column."""
        number = self.stopped
        while number > 0 and not self.lines[number].strip():
            number -= 1
        if not self.lines or not self._is_structure(number):
            return None
        line = read_line(self.lines, number)
        like = self._sibling(line)
        if like is None or bool(like.dashes) is bool(line.dashes):
            return None
        written, other = line.key or shortened(line.value), like.key or shortened(like.value)
        if not line.dashes and (above := self._key_above(like)) is not None and above not in _LISTS and like.key:
            sentence = f"“{above}” is no list, and “{written}” below “- {other}” has no dash; take the dash away"
            return Mistake(like.number + 1, like.indent + 1, sentence)
        if line.dashes and (item := self._item_above(line) or self._item_further_left(line)) is not None:
            return self._indented(line, item.indent, f"“- {written}”", item)
        if line.dashes:
            above = self._key_above(like)
            mend = f"“{above}” is a list: begin “{other}” with a dash too" if above in _LISTS else "take the dash away"
            sentence = f"“- {written}” begins an item of a list, and “{other}” above it is a key; {mend}"
            return Mistake(number + 1, line.indent + 1, sentence)
        sentence = f"“{written}” stands among the items of a list, like “- {other}” above it"
        return Mistake(number + 1, line.indent + 1, sentence + "; begin it with a dash, or indent it otherwise")

    def _item_above(self, line: TextLine) -> TextLine | None:
        """The nearest item of a list that is indented more, above which no line is indented less."""
        further_right = takewhile(lambda each: each.indent > line.indent, self._above(line.number))
        return next((each for each in further_right if each.dashes), None)

    def _item_further_left(self, line: TextLine) -> TextLine | None:
        """The nearest item of a list that is indented less, where the line begins an item like it."""
        item = next((each for each in self._above(line.number) if each.indent < line.indent), None)
        if item is None or not item.dashes or item.key != line.key:
            return None
        return item if self._last_of_item(line, item.indent) is not None else None

    def _key_above(self, line: TextLine) -> str | None:
        """The key that the line and its siblings belong to."""
        return next((each.key for each in self._above(line.number) if each.indent < line.indent), None)

    def _sibling(self, line: TextLine) -> TextLine | None:
        """The first line above that begins in the same column, where none between begins further left."""
        not_further_left = takewhile(lambda each: each.indent >= line.indent, self._above(line.number))
        siblings = [each for each in not_further_left if each.indent == line.indent and (each.key or each.dashes)]
        return siblings[-1] if siblings else None


_UNIT = re.compile(r"(?:working )?(?:minute|hour|day|week)s?(?: (?:before|after) [a-z_.]+)?")
_NUMBER_OF = re.compile(r"[0-9]+(?: working)?")
_LIST_OF = {"rule": "steps", "inbox": "stands_in", "house": "closed"}
"""A key of each kind of file that has a list in its first column, and the list."""
_OUTERMOST = {
    "rule": frozenset({"owner", "why", "severity", "about", "on_repeat", "on_change", "steps", "until"}),
    "form": frozenset({"welcome", "fields", "confirm", "record", "done", "languages"}),
    "template": frozenset({"category", "version", "fields", "languages"}),
}
"""The keys of each kind of file that stand in its first column alone."""
_SINGLE_VALUE = re.compile(r"[a-z][a-z0-9_.-]*|[0-9]+|\{.*\}|\[.*\]")
"""A value that no further line continues: one word, a number, or one that is closed on its line."""


def _is_plain_key(key: str | None) -> bool:
    return key is not None and re.fullmatch(r"[a-z][a-z0-9_.]*", key) is not None


_LISTS = frozenset({"steps", "until", "play", "expect", "closed", "fairs", "stands_in", "per_person", "all", "any"})
"""Keys whose value is a list."""

# ------------------------------------------------------------------ lines of other programs

_CONFLICT = re.compile(r"<{7}(?: |$)|={7}$|>{7}(?: |$)|\|{7}(?: |$)")
_FENCE = re.compile(r"(?:`{3,}|~{3,})[a-z]*$")


def _foreign_line(text: FileText, lines: list[str]) -> Mistake | None:
    """Signs that Git leaves where two people changed the same lines, or the frame of a file copied from a page."""
    if len(lines) > _MOST_LINES:
        return None
    bare = [line.strip() for line in lines]
    if (begun := next((number for number, line in enumerate(bare) if line.startswith("<" * 7)), None)) is not None:
        sentence = (
            "two people changed these lines, and Git could not join them: keep the lines of one, and delete those of "
            "the other and the lines “<<<<<<<”, “=======” and “>>>>>>>”"
        )
        column = lines[begun].index("<") + 1
        return Mistake(begun + 1, column, sentence, _without_conflicts(text, bare))
    left = next((number for number, line in enumerate(bare) if _CONFLICT.match(line)), None)
    if left is not None:
        sentence = f"“{bare[left][:7]}” is left of a conflict that Git could not join; delete this line"
        return Mistake(left + 1, 1, sentence, text.with_line(left, "#"))
    if (mistake := _mail_around(text, lines)) is not None:
        return mistake
    fences = [number for number, line in enumerate(bare) if _FENCE.fullmatch(line)]
    if not fences:
        return None
    sentence = f"“{bare[fences[0]]}” frames a file on a page, and is no part of it; delete this line"
    mended = text
    for number in fences:
        mended = mended.with_line(number, "#")
    also = also_on_lines([number + 1 for number in fences], fences[0] + 1)
    return Mistake(fences[0] + 1, 1, sentence + also, mended)


_BEGINS_A_FILE = re.compile(r"(?:rule|template|form|teams|publisher|house): ?")
_LETTER = re.compile(r"[^\W\d_a-z]\S*(?: |,$)|[<>*=~;/]")


def _mail_around(text: FileText, lines: list[str]) -> Mistake | None:
    """The rest of a letter or a page that the file was copied from, above its first key or below its last one."""
    first = next((number for number, line in enumerate(lines) if _BEGINS_A_FILE.match(line)), 0)
    above = [number for number in range(first) if lines[number].strip() and not lines[number].startswith("#")]
    if above and _LETTER.match(lines[above[0]]):
        mended = text
        for number in above:
            mended = mended.with_line(number, "#")
        key = lines[first].partition(":")[0]
        sentence = (
            f"“{shortened(lines[above[0]].strip())}” is no part of the file; delete all that stands above “{key}:”"
        )
        return Mistake(above[0] + 1, 1, sentence, mended)
    last = next((number for number, line in enumerate(lines) if number > first and line.rstrip() == "--"), None)
    if last is None or any(re.match(r"[a-z_]+:|[ -] ", line) for line in lines[last + 1 :]):
        return None
    mended = text
    for number in range(last, len(lines)):
        mended = mended.with_line(number, "#")
    return Mistake(last + 1, 1, "“--” begins the signature of an e-mail; delete it and all that stands below", mended)


_MOST_LINES = 20_000


def _without_conflicts(text: FileText, bare: list[str]) -> FileText:
    """With the first version of what two people changed."""
    is_second = False
    for number, line in enumerate(bare):
        is_sign = _CONFLICT.match(line) is not None
        is_second = (is_second or line.startswith(("=" * 7, "|" * 7))) if is_sign else is_second
        if is_sign or is_second:
            text = text.with_line(number, "#")
        if is_sign and line.startswith(">" * 7):
            is_second = False
    return text
