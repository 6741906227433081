"""The mistakes that one line of a file shows: in its indentation, its dash, its key and colon, and its value."""

import re

from services.rules.rulebook.meant_conditions import meant_by_sign
from services.rules.rulebook.yaml_braces import find_in_braces
from services.rules.rulebook.yaml_characters import also_on_lines
from services.rules.rulebook.yaml_lines import (
    BEGINS_WITH_PARAMETER,
    BLOCK_TEXT,
    COLON,
    COMMENT,
    HOLD_CONDITIONS,
    KEY_FIRST,
    KEYS,
    STANDS_IN_BRACES,
    FileText,
    Mistake,
    TextLine,
    bare_line,
    closing_quote,
    last_line_of,
    more_follows,
    not_closed,
    read_line,
    shortened,
)

# ------------------------------------------------------------------ of its dash, key and colon

_LEADING_TAB = re.compile(r"^[ ]*\t[ \t]*")
_BLOCK_SIGN = re.compile(r"[>|][+-]?")
_DASH_AND_TAB = re.compile(r"^[ ]*-(?P<gap>[ ]*\t[ \t]*)")
_STRAY_DASH = re.compile(r"^[ ]*(?P<dash>[–—−‐‑•·*+☐☑✓✔▪■□◦‣►➢➤→])[ ]+(?=[\w\"'{])")
_NOTE = re.compile(r"(?i:note|nb|to ?do|comment)\b.*|(?![\w.]+:)[^{\[]*[ ][^{\[]*")
"""Words for readers behind a star; an item of a list is a single word, or has a key."""
_GLUED_DASH = re.compile(r"^[ ]*(?P<dash>[–—−‐‑•·])(?=[a-z_]+:)")
_TIGHT_DASH = re.compile(r"^[ ]*-(?=[\w\"'{]+)(?!-)")
_TWO_DASHES = re.compile(r"^[ ]*-[ ]+(?=-[ ]+[a-z_]+:)")
_TIGHT_COLON = re.compile(r"^[ ]*(?:-[ ]+)*(?P<key>[a-z][a-z_]*)(?P<colon>[:：])(?=\S)")
_NO_COLON = re.compile(r"^[ ]*(?:-[ ]+)*(?P<key>[a-z][a-z_]*)(?P<sign>[ ]*(?:[-=]>|:=|[=;：])[ ]*|[ ]+|$)(?P<rest>.*)$")


def _tab(text: FileText, lines: list[str], number: int) -> Mistake | None:
    if not _LEADING_TAB.match(lines[number]):
        return None
    tabbed = [each for each, line in enumerate(lines) if _LEADING_TAB.match(line) and line.strip()]
    if not tabbed:
        return None
    first = tabbed[0]
    sentence = "this line is indented with a tab; use spaces" + also_on_lines([each + 1 for each in tabbed], first + 1)
    mended = text
    for each in tabbed if len(tabbed) <= _MOST_TABBED else ():
        bare = bare_line(lines, each)
        spaces = _tabs_as_spaces(mended.lines(), each)
        lead = len(bare) - len(bare.lstrip(" \t"))
        inserted = tuple(range(lead, spaces)) if spaces > lead else ()
        mended = mended.with_line(each, " " * spaces + bare[lead:], inserted)
    return Mistake(first + 1, lines[first].index("\t") + 1, sentence, None if mended is text else mended)


_MOST_TABBED = 300
"""Lines with tabs that are mended. A file with more of them is not read further."""


def _tabs_as_spaces(lines: list[str], number: int) -> int:
    """As many spaces for a tab as begin the line where one above begins, else two."""
    bare = bare_line(lines, number)
    lead = bare[: len(bare) - len(bare.lstrip(" \t"))]
    above = [read_line(lines, each) for each in range(number) if lines[each].strip()]
    if above and _BLOCK_SIGN.fullmatch(above[-1].value or ""):
        below = (line for line in lines[number + 1 :] if line.strip() and not _LEADING_TAB.match(line))
        width = next((len(line) - len(line.lstrip(" ")) for line in below), 0)
        return width if width > above[-1].column else above[-1].column + 2
    opens = above[-1].column if above and above[-1].key and not above[-1].value else -1
    is_item = bare.lstrip().startswith("- ")
    known = {each.indent if is_item else each.column for each in above if bool(each.dashes) or not is_item}
    spaces = [sum(width if each == "\t" else 1 for each in lead) for width in (2, 4, 8)]
    return next((each for each in spaces if (each > opens if opens >= 0 else each in known - {0})), spaces[0])


def _tab_behind_dash(text: FileText, lines: list[str], number: int) -> Mistake | None:
    found = _DASH_AND_TAB.match(lines[number])
    if found is None:
        return None
    at, width = found.start("gap"), len(found["gap"])
    sentence = "a tab stands behind this dash; type a space"
    return Mistake(number + 1, at + 1, sentence, text.with_replacement(number, at, width, " "))


def _stray_dash(text: FileText, lines: list[str], number: int) -> Mistake | None:
    if (found := _STRAY_DASH.match(lines[number])) is not None:
        at = found.start("dash")
        if found["dash"] == "*" and _NOTE.fullmatch(bare_line(lines, number)[found.end() :]):
            sentence = "a comment begins with “#”, not with “*”"
            return Mistake(number + 1, at + 1, sentence, text.with_replacement(number, at, 1, "#"))
        sentence = f"“{found['dash']}” begins no item of a list; write “-”"
        return Mistake(number + 1, at + 1, sentence, text.with_replacement(number, at, 1, "-"))
    if (glued := _GLUED_DASH.match(lines[number])) is not None:
        at = glued.start("dash")
        sentence = f"“{glued['dash']}” begins no item of a list; write “- ”, a hyphen and a space"
        mended = text.with_replacement(number, at, 1, "-").with_insertion(number, at + 1, " ")
        return Mistake(number + 1, at + 1, sentence, mended)
    if (double := _TWO_DASHES.match(lines[number])) is not None:
        at = double.end()
        sentence = "one dash begins an item of a list; take the second away"
        return Mistake(number + 1, at + 1, sentence, text.with_replacement(number, at, 1, " "))
    if (tight := _TIGHT_DASH.match(lines[number])) is not None and ":" in lines[number]:
        sentence = "a space is missing behind the dash: “- ” begins an item of a list"
        return Mistake(number + 1, tight.end(), sentence, text.with_insertion(number, tight.end(), " "))
    return None


def _missing_space(text: FileText, lines: list[str], number: int) -> Mistake | None:
    """A known key without its colon, or without the space behind it."""
    bare = bare_line(lines, number)
    if (tight := _TIGHT_COLON.match(bare)) is not None and tight["key"] in KEYS:
        at = tight.start("colon")
        name, rest = tight["key"], shortened(_without_comment(bare[at + 1 :]))
        if tight["colon"] == "：":
            return Mistake(number + 1, at + 1, f"“：” is no colon; write {name}: {rest}", _colon(text, number, at, 1))
        mended = text.with_insertion(number, at + 1, " ")
        return Mistake(number + 1, at + 2, f"a space is missing behind the colon: {name}: {rest}", mended)
    found = _NO_COLON.match(bare)
    if found is None or found["key"] not in KEYS:
        return None
    has_key = read_line(lines, number).key is not None and not found["sign"].strip()
    if has_key or not _begins_a_line_of_keys(lines, number):
        return None
    name, rest, at = found["key"], shortened(_without_comment(found["rest"])), found.end("key")
    sign = found["sign"].strip()
    if sign:
        sentence = f"“{sign}” does not follow a key; write {name}: {rest}"
        column = bare.index(sign, at)
        return Mistake(number + 1, column + 1, sentence, _colon(text, number, column, len(sign)))
    mended = text.with_insertion(number, at, ":")
    return Mistake(number + 1, at + 1, f"a colon is missing behind “{name}”: {name}: {rest}".rstrip(), mended)


def mistyped_key(text: FileText, lines: list[str], number: int) -> Mistake | None:
    """A known key behind which another sign stands, or no space: the line is none of the text above it."""
    bare = bare_line(lines, number)
    signed = _NO_COLON.match(bare)
    is_meant = _TIGHT_COLON.match(bare) is not None or (signed is not None and signed["sign"].strip())
    return _missing_space(text, lines, number) if is_meant else None


_ASSIGNED = re.compile(
    r"^[ ]*(?P<key>[a-z][a-z0-9_.]*)(?:(?P<sign>[ ]*(?:[-=]>|:=|[=;])[ ]*)|(?P<tight>:)|[ ]+)(?P<rest>\S+)[ ]*(?:#.*)?$"
)


def assigned_value(text: FileText, lines: list[str], number: int) -> Mistake | None:
    """A word of any kind and its value, between which the colon is missing or is another sign."""
    found = _ASSIGNED.match(bare_line(lines, number))
    if found is None:
        return None
    name, rest, at = found["key"], shortened(found["rest"]), found.end("key")
    if found["tight"] is not None:
        sentence = f"a space is missing behind the colon: {name}: {rest}"
        return Mistake(number + 1, at + 2, sentence, text.with_insertion(number, at + 1, " "))
    if found["sign"] is None:
        sentence = f"a colon is missing behind “{name}”: {name}: {rest}"
        return Mistake(number + 1, at + 1, sentence, text.with_insertion(number, at, ":"))
    sign = found["sign"].strip()
    column = found.start("sign") + found["sign"].index(sign)
    sentence = f"“{sign}” does not follow a key; write {name}: {rest}"
    return Mistake(number + 1, column + 1, sentence, _colon(text, number, column, len(sign)))


_KEY_BEFORE_BRACES = re.compile(r"^[ ]*(?:-[ ]+)*(?P<key>[a-z][a-z0-9_.]*)[ ]+(?=[{\[].*[}\]][ ]*(?:#.*)?$)")


def _no_colon_before_braces(text: FileText, lines: list[str], number: int) -> Mistake | None:
    """A key without its colon before a value in braces or brackets."""
    found = _KEY_BEFORE_BRACES.match(bare_line(lines, number))
    if found is None or not _begins_a_line_of_keys(lines, number):
        return None
    at = found.end("key")
    sentence = f"a colon is missing behind “{found['key']}”"
    return Mistake(number + 1, at + 1, sentence, text.with_insertion(number, at, ":"))


def _colon(text: FileText, number: int, column: int, length: int) -> FileText:
    mended = text.with_replacement(number, column, length, ":" + " " * (length - 1))
    following = bare_line(mended.lines(), number)[column + 1 : column + 2]
    return mended if following in ("", " ") else mended.with_insertion(number, column + 1, " ")


def _begins_a_line_of_keys(lines: list[str], number: int) -> bool:
    """It continues no text: the line before it has no value, or is not indented less."""
    line = read_line(lines, number)
    for above in range(number - 1, -1, -1):
        if not lines[above].strip() or lines[above].lstrip().startswith("#"):
            continue
        before = read_line(lines, above)
        return bool(line.dashes) or before.column >= line.indent or (before.key is not None and not before.value)
    return True


# ------------------------------------------------------------------ of its value

_RESERVED = "@`%*&!|>,]}?-"


_MISTYPED_BLOCK = re.compile(r"[\"'‘“]?(?:[-=_~]+>[-_]*|>[_=~]+|>-{2,}|\|[_=~>]+|>-)[\"'’”]?")


def _mistyped_block(text: FileText, line: TextLine) -> Mistake:
    length = len(line.value)
    mended = text.with_replacement(line.number, line.start, length, ">-".ljust(length)) if length > 1 else None
    sentence = f"“{line.value}” begins no text; where it stands on the lines below, write {line.key}: >-"
    return Mistake(line.number + 1, line.start + 1, sentence, mended)


def _bad_block_text(text: FileText, lines: list[str], number: int) -> Mistake | None:
    """A text that begins behind the sign that puts it on lines of its own."""
    line = read_line(lines, number)
    if line.value[:1] not in ("|", ">") or not line.key or BLOCK_TEXT.match(line.value):
        return None
    if _MISTYPED_BLOCK.fullmatch(line.value):
        return _mistyped_block(text, line)
    if line.key not in KEYS and (meant := meant_by_sign(line.value)) is not None:
        sentence = f"“{shortened(line.value)}” is no comparison; write {line.key}: {meant}"
        return Mistake(number + 1, line.start + 1, sentence, text.with_quotes(line, line.start))
    sign = line.value[0]
    sentence = f"behind “{sign}” nothing may stand on the line: begin the text on the next one, or put it in quotes"
    return Mistake(number + 1, line.start + 1, sentence, text.with_replacement(number, line.start, 1, " "))


def _bad_beginning(text: FileText, lines: list[str], number: int) -> Mistake | None:
    """A text that begins with a sign that means something else there."""
    line = read_line(lines, number)
    first = line.value[:1]
    names = _REPEATED.fullmatch(line.value)  # “people: &production” names what stands below, “*production” repeats it
    if not first or first not in _RESERVED or BLOCK_TEXT.match(line.value) or names:
        return None
    if first in "]}":
        return Mistake(number + 1, line.start + 1, f"“{first}” closes nothing; delete it")
    if first == "%" and not line.key:
        return Mistake(number + 1, line.start + 1, "a line cannot begin with “%”; delete it")
    if first in "-?" and not (line.key and line.value[1:2] in ("", " ")):
        return None
    if first == "-" and line.key and _ONE_WORD.fullmatch(line.value[1:].strip()):
        word = line.value[1:].strip()
        sentence = f"a list begins on the next line; write {line.key}: {word}"
        return Mistake(number + 1, line.start + 1, sentence, text.with_replacement(number, line.start, 1, " "))
    return Mistake(number + 1, line.start + 1, _in_quotes(line, first), text.with_quotes(line, line.start))


def _line_behind_a_name(text: FileText, lines: list[str], number: int) -> Mistake | None:
    """A key behind ``people: *agented`` has its value below; it takes the place of that, which the rest may lack."""
    line = read_line(lines, number)
    joined = _joined_lines(line) if line.value[:1] in ("*", "&") else None
    if joined is None or joined["rest"]:
        return None
    place, written = line.start + joined.start("begin"), joined["begin"]
    bare = f"{' ' * line.indent}{line.dashes}{joined['key']}:"
    mended = text.with_line(line.number, bare.ljust(len(line.text)))
    sentence = f"“{written}:” begins on a line of its own"
    return Mistake(line.number + 1, place + 1, sentence, mended, joined["key"], is_aside=True)


_REPEATED = re.compile(r"[&*][\w-]+")
_ONE_WORD = re.compile(r"[a-z][a-z0-9_.-]*")


def _bad_colon(text: FileText, lines: list[str], number: int) -> Mistake | None:
    """A colon within a text, on its first line or on a further one."""
    line = read_line(lines, number)
    if not line.value or line.value[0] in "\"'{[":
        return None
    if not line.dashes and line.key not in KEYS and _owner(lines, line) is not None:
        return _bad_continuation(text, lines, line)
    if (colon := COLON.search(line.value)) is not None and (line.key is not None or line.dashes):
        return _colon_within(text, line, colon.start())
    return None


def _without_comment(text: str) -> str:
    return re.sub(r"\s+#.*$", "", text)


_DASHES_BETWEEN = re.compile(r"-[ ]+[\w.]+(?:[ ]+-[ ]+[\w.]+)*")


def _in_quotes(line: TextLine, first: str) -> str:
    shown = f"{line.key}: " if line.key else "- "
    if line.key and _DASHES_BETWEEN.fullmatch(line.value):
        listed = ", ".join(re.split(r"[ -]+", line.value.lstrip("- ")))
        return f"a list on one line stands in brackets: {shown}[{listed}]"
    quote = "'" if '"' in line.value else '"'
    return f"a text that begins with “{first}” stands in quotes: {shown}{quote}{shortened(line.value)}{quote}"


_KEYS_WITHOUT_BRACES = re.compile(r"[a-z_]+: [^,:{}]+(?:, [a-z_]+: [^,:{}]+)+")


def _colon_within(text: FileText, line: TextLine, colon: int) -> Mistake:
    quote = "'" if '"' in line.value else '"'
    shown = f"{line.key}: " if line.key else "- "
    if (joined := _joined_lines(line)) is not None:
        place, written = line.start + joined.start("begin"), shortened(joined[0][joined.start("begin") :])
        sentence = f"“{written}” begins on a line of its own"
        is_item = joined["begin"] != joined["key"]  # the keys below are those of an item that is not read
        mended = text.with_quotes(line, line.start)
        return Mistake(line.number + 1, place + 1, sentence, mended, joined["key"], is_aside=is_item)
    is_condition = (line.key in HOLD_CONDITIONS and KEY_FIRST.match(line.value)) or STANDS_IN_BRACES.match(line.value)
    if is_condition or _KEYS_WITHOUT_BRACES.fullmatch(line.value):
        end = line.start + len(line.value)
        mended = text.with_insertion(line.number, end, "}").with_insertion(line.number, line.start, "{")
        several = "keys behind another key" if is_condition else "several keys on one line"
        sentence = f"{several} stand in braces: {shown}{{{shortened(line.value)}}}"
        return Mistake(line.number + 1, line.start + 1, sentence, mended)
    sentence = f"a text with a colon and a space in it stands in quotes: {shown}{quote}{shortened(line.value)}{quote}"
    return Mistake(line.number + 1, line.start + colon + 1, sentence, text.with_quotes(line, line.start))


_TWO_ITEMS = re.compile(r"(?:\{.*\}|\[.*\]|[\w.]+) +(?P<second>- +(?:\{.*\}|[\w]+\.[\w.]+))")
_TWO_LINES = re.compile(
    r"(?:[\w.:+-]+|[0-9]+ [a-z ]+|[*&][\w-]+|\{.*\}|\[.*\]) +(?P<begin>(?:- +)?(?P<key>[a-z_]+)):(?: +(?P<rest>.*))?"
)
"""A value that is complete, and another key with its value behind it."""


def _joined_lines(line: TextLine) -> re.Match[str] | None:
    """A key and its value at the end of a line that has both already: two known keys, or two fields and their names."""
    joined = _TWO_LINES.fullmatch(line.value)
    if joined is None or line.key is None:
        return None
    is_field = line.key not in KEYS and _ONE_WORD.fullmatch(joined["rest"] or "")
    return joined if is_field or joined["key"] in KEYS else None


def two_items(text: FileText, lines: list[str], number: int) -> Mistake | None:
    """Two items of a list on one line."""
    line = read_line(lines, number)
    joined = _TWO_ITEMS.fullmatch(line.value) if line.dashes and line.key is None else None
    if joined is None:
        return None
    at = line.start + joined.start("second")
    sentence = f"“{shortened(joined['second'])}” begins on a line of its own"
    return Mistake(number + 1, at + 1, sentence, text.with_replacement(number, at - 1, 2, " #"))


def _bad_continuation(text: FileText, lines: list[str], line: TextLine) -> Mistake | None:
    """A further line of a text: a colon in it ends the text."""
    owner = _owner(lines, line)
    if owner is None or (colon := COLON.search(line.text)) is None:
        return None
    mistake = _colon_within(text, owner, 0)
    return Mistake(line.number + 1, colon.start() + 1, mistake.sentence, mistake.mended)


def _owner(lines: list[str], line: TextLine, *, plain: bool = True) -> TextLine | None:
    """The line with the key whose text this one continues; with ``plain``, where that text is a plain one."""
    for number in range(line.number - 1, -1, -1):
        if not lines[number].strip():
            continue
        above = read_line(lines, number)
        if above.column < line.indent and (above.key or above.dashes):
            is_plain = bool(above.value) and above.value[0] not in "\"'{[|>"
            return above if is_plain or not plain else None
        if above.column < line.indent:
            return None
    return None


def _bad_quotes(text: FileText, lines: list[str], number: int) -> Mistake | None:
    """A quote that is not closed, or text behind the closing one."""
    line = read_line(lines, number)
    if line.value[:1] not in ('"', "'"):
        return None
    close = closing_quote(line.text, line.start)
    if close is None:
        return _open_quote(text, lines, line)
    behind = line.text[close + 1 :]
    if not behind.strip() or COMMENT.match(behind) or (not line.key and behind.lstrip().startswith(":")):
        return None
    if behind.strip() == "," and line.key:
        comma = close + 1 + behind.index(",")
        sentence = "a line does not end with a comma; delete it"
        return Mistake(number + 1, comma + 1, sentence, text.with_replacement(number, comma, 1, " "))
    last = max(line.text.rfind(line.text[line.start]), close)
    end = last + 1 if last > close else len(line.text.rstrip())
    sentence = more_follows(line.text[line.start])
    return Mistake(number + 1, close + 1, sentence, text.requoted(number, line.start, end))


def _open_quote(text: FileText, lines: list[str], line: TextLine) -> Mistake | None:
    bare, start, quote = line.text, line.start, line.text[line.start]
    if (wrong := _closed_by_another(bare, start)) is not None:
        sentence = f"the text begins with {quote} and ends with {bare[wrong]}; use {quote} on both sides"
        return Mistake(line.number + 1, wrong + 1, sentence, text.with_replacement(line.number, wrong, 1, quote))
    if _closes_below(lines, line, quote):
        return None
    end = len(COMMENT.sub("", bare).rstrip())
    return Mistake(line.number + 1, start + 1, not_closed(quote), text.with_insertion(line.number, end, quote))


def _closed_by_another(bare: str, start: int) -> int | None:
    end = len(bare.rstrip()) - 1
    return end if end > start and bare[end] in "\"'“”’‘" and bare[end] != bare[start] else None


def _closes_below(lines: list[str], line: TextLine, quote: str) -> bool:
    """A text of several lines: one below ends with the quote, and none up to it is a key or an item."""
    for number in range(line.number + 1, min(last_line_of(lines, line), line.number + 30) + 1):
        bare = bare_line(lines, number)
        at = bare.find(quote)
        if at >= 0:
            behind = bare[at + 1 :].strip()
            return not behind or behind[0] in "#,}]"
    return False


_PARAMETER_FIRST = re.compile(r"(?:\{[^:{}]*\}|\[[^\]]*\])(?=[ ]*[\w.,;:!?…’'({\[–—-])")


def _text_behind_braces(text: FileText, lines: list[str], number: int) -> Mistake | None:
    """A text that begins with a parameter: ``{title} is due``."""
    line = read_line(lines, number)
    if not line.key or _PARAMETER_FIRST.match(line.text, line.start) is None:
        return None
    sentence = BEGINS_WITH_PARAMETER if line.key == "body" else _in_quotes(line, line.value[0])
    return Mistake(number + 1, line.start + 1, sentence, text.with_quotes(line, line.start))


def _mistyped_above(text: FileText, lines: list[str], number: int) -> Mistake | None:
    """A line of a text whose sign, on the line of its key, is mistyped."""
    line = read_line(lines, number)
    owner = None if line.dashes else _owner(lines, line, plain=False)
    found = owner is not None and owner.key is not None and _MISTYPED_BLOCK.fullmatch(owner.value)
    return _mistyped_block(text, owner) if owner is not None and found else None


# ------------------------------------------------------------------ all of them

_LOOKS = (
    _tab,
    _tab_behind_dash,
    _mistyped_above,
    _stray_dash,
    two_items,
    _missing_space,
    _no_colon_before_braces,
    _bad_quotes,
    _text_behind_braces,
    _bad_block_text,
    _line_behind_a_name,
    _bad_beginning,
    _bad_colon,
    find_in_braces,
)
"""In this order, at each line."""


def find_in_line(text: FileText, lines: list[str], number: int) -> Mistake | None:
    """The first mistake that the line shows; None where it may be right."""
    return next((found for look in _LOOKS if (found := look(text, lines, number)) is not None), None)
