"""Mistakes between braces and brackets: a partner that is missing, a comma, a space, a text that needs quotes."""

import re

from services.rules.rulebook.meant_conditions import (
    BRACKETED_PATH,
    meant_by_sign,
    meant_condition,
    or_which_fields,
    without_brackets,
)
from services.rules.rulebook.yaml_lines import (
    CLOSING,
    COLON,
    COMMENT,
    HOLD_CONDITIONS,
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

_PARAMETER = re.compile(r"(?P<name>\{[a-z0-9_]+\})(?P<more>[ ]*[^\s,}\]])?")
_BEFORE_BRACES = (KEYS | {"not", "all", "any", "default", "choose", "document", "roles"}) - {"to", "for", "as"}
"""Keys whose colon is missing where a brace or a bracket follows them."""
_TIGHT_KEY = re.compile(r"[\w.]+:")


class _Braces:
    """The text between a brace or bracket and its partner, over the lines of its value."""

    def __init__(self, lines: list[str], line: TextLine) -> None:
        self.lines = lines
        self.first = line
        self.last = last_line_of(lines, line)
        self.end: tuple[int, int] | None = None
        self.unclosed: list[tuple[int, int, str]] = []
        self.extra: tuple[int, int, str] | None = None
        self.wrong: tuple[int, int, str, str] | None = None
        self.tight: tuple[int, int] | None = None
        self.forgotten: tuple[int, int, str] | None = None
        self.no_colon: tuple[int, int, str] | None = None
        self.no_comma: tuple[int, int, str] | None = None
        self.open_item: tuple[int, int] | None = None
        self.no_brace: tuple[int, int, str] | None = None
        self._begun: int | None = None
        self._keyed = False
        self.parts: list[tuple[int, int, int]] = []
        """Line, first column and end of each plain or quoted part between commas, on one line."""
        self._scan()

    def _scan(self) -> None:
        for number in range(self.first.number, self.last + 1):
            self._begun, at = None, self.first.start if number == self.first.number else 0
            self._keyed = False
            bare = bare_line(self.lines, number)
            while at < len(bare) and not (bare[at] == "#" and (not at or bare[at - 1] in " \t[{,")):
                at = self._step(number, bare, at)
                if self.end is not None or self.extra is not None:
                    return
            self._finish(number, min(at, len(bare.rstrip())))

    def _step(self, number: int, bare: str, at: int) -> int:
        """Takes in what stands at ``at``; returns where to go on."""
        character, begun = bare[at], self._begun
        if (parameter := _PARAMETER.match(bare, at)) is not None and (begun is not None or parameter["more"]):
            self._begun = at if begun is None else begun
            return parameter.end("name")
        if character in "\"'" and begun is None and (close := closing_quote(bare, at)) is not None:
            self._begun = at
            return close + 1
        if character in "{[" and self._opens(number, bare, at):
            self._look_before(number, bare, at)
            self.unclosed.append((number, at, character))
            self._begun, self._keyed = None, False
        elif character in "}],":
            self._finish(number, at)
            if character != ",":
                self._close(number, at, character)
                self._look_behind(number, bare, at + 1)
        elif self._ends_key(number, bare, at):
            self._begun, self._keyed = None, True
        elif not character.isspace() and begun is None:
            self._begun = at
        return at + 1

    def _opens(self, number: int, bare: str, at: int) -> bool:
        """Whether the brace or bracket begins a value, also where a colon or a space is missing before it."""
        if self._begun is None:
            return True
        before = bare[self._begun : at]
        if (word := before.rstrip()) in _BEFORE_BRACES:
            self.no_colon = self.no_colon or (number, self._begun + len(word), word)
            return True
        if _TIGHT_KEY.fullmatch(before):
            self.tight = self.tight or (number, at)
            return True
        return False

    def _look_before(self, number: int, bare: str, at: int) -> None:
        """Notes a brace that is missing before this one: that of the item before, or one before the key of this."""
        is_item = not self._keyed and [each[2] for each in self.unclosed[-2:]] == ["[", "{"]
        comma = len(bare[:at].rstrip()) - 1
        if bare[at] == "{" and is_item and bare[comma] == ",":
            self.open_item = self.open_item or (number, comma)

    def _look_behind(self, number: int, bare: str, at: int) -> None:
        """Notes a comma that is missing behind what was closed there."""
        follows = _FOLLOWS.match(bare, at)
        if self.unclosed and follows is not None:
            self.no_comma = self.no_comma or (number, at, follows["word"])

    def _ends_key(self, number: int, bare: str, at: int) -> bool:
        if bare[at] != ":" or bare[at + 1 : at + 2] not in ("", " ") or self._begun is None:
            return False
        word = bare[self._begun : at]
        if not self._keyed:
            return self._is_key(word)
        if _NAME.fullmatch(word) is None or bare[at + 1 :].lstrip()[:1] != "{":
            return False
        self.no_brace = self.no_brace or (number, self._begun, word)
        return True

    def _finish(self, number: int, end: int) -> None:
        if self._begun is not None and self._begun < end:
            self.parts.append((number, self._begun, end))
        self._begun, self._keyed = None, False

    @staticmethod
    def _is_key(text: str) -> bool:
        return re.fullmatch(r"""[\w.\-]+|"[^"]*"|'[^']*'|wait until""", text.strip()) is not None

    def _close(self, number: int, at: int, character: str) -> None:
        if not self.unclosed:
            self.extra = (number, at, character)
            return
        opened = self.unclosed.pop()
        if CLOSING[opened[2]] != character:
            closes_outer = bool(self.unclosed) and CLOSING[self.unclosed[-1][2]] == character
            self.forgotten = self.forgotten or ((number, at, opened[2]) if closes_outer and not self.wrong else None)
            self.wrong = self.wrong or (number, at, character, opened[2])
        if not self.unclosed:
            self.end = (number, at)


_NAME = re.compile(r"[a-z][\w.]*")
_FOLLOWS = re.compile(r"[ ]+(?P<word>[\w.]+(?=:[ ])|\{)")
"""Behind a closed brace or bracket, within others: a key or a brace, to which a comma leads."""
_TWO_COMMAS = re.compile(r",[ ]*(?=,)|(?<=[\[{])[ ]*(?=,)")


def find_in_braces(text: FileText, lines: list[str], number: int) -> Mistake | None:
    """The first mistake of a value that begins with a brace or a bracket on that line."""
    line = read_line(lines, number)
    if line.value[:1] not in ("{", "["):
        return None
    if (commas := _TWO_COMMAS.search(line.text, line.start)) is not None and not re.search("[\"']", line.value):
        comma = line.text.index(",", max(commas.end(), commas.start()))
        sentence = "a value is missing before this comma; delete the comma, or write the value"
        return Mistake(number + 1, comma + 1, sentence, text.with_replacement(number, comma, 1, " "))
    braces = _Braces(lines, line)
    if braces.no_colon is not None:
        at_line, at, word = braces.no_colon
        mended = text.with_insertion(at_line, at, ":")
        return Mistake(at_line + 1, at + 1, f"a colon is missing behind “{word}”", mended)
    for part in braces.parts:
        if (mistake := _bad_part(text, lines, *part)) is not None:
            return mistake
    return _missing_brace(text, braces) or _missing_sign(text, braces) or _bad_closing(text, lines, braces)


def _missing_brace(text: FileText, braces: _Braces) -> Mistake | None:
    """One that closes an item of a list before the next, or one that begins the keys behind another key."""
    if braces.open_item is not None:
        number, comma = braces.open_item
        sentence = "“}” is missing before this comma: the item before it is not closed"
        return Mistake(number + 1, comma + 1, sentence, text.with_insertion(number, comma, "}"))
    if braces.no_brace is None:
        return None
    number, at, word = braces.no_brace
    mended, closed = text.with_insertion(number, at, "{"), _behind_partner(bare_line(braces.lines, number), at)
    if closed is not None and bare_line(mended.lines(), number).count("{") > bare_line(mended.lines(), number).count(
        "}"
    ):
        mended = mended.with_insertion(number, closed + 1, "}")  # the brace that closes it is missing too
    sentence = f"“{{” is missing before “{word}”: keys behind another key stand in braces"
    return Mistake(number + 1, at + 1, sentence, mended)


def _behind_partner(bare: str, at: int) -> int | None:
    """The column behind the brace that closes the first one from ``at`` on; None where it is not on the line."""
    depth = 0
    for column in range(bare.index("{", at), len(bare)):
        depth += (bare[column] == "{") - (bare[column] == "}")
        if not depth:
            return column + 1
    return None


def _missing_sign(text: FileText, braces: _Braces) -> Mistake | None:
    """A comma, or the space behind a colon."""
    if braces.no_comma is not None:
        number, at, word = braces.no_comma
        sentence = f"a comma is missing before “{word}”"
        return Mistake(number + 1, at + 1, sentence, text.with_insertion(number, at, ","))
    if braces.tight is not None:
        number, at = braces.tight
        return Mistake(number + 1, at + 1, "a space is missing behind the colon", text.with_insertion(number, at, " "))
    return None


def _first_of_list(braces: _Braces, number: int, at: int) -> int | None:
    """Where the values between commas begin of which the last ends at ``at``."""
    first = None
    for line, begun, end in reversed(braces.parts):
        behind = bare_line(braces.lines, number)[end : at if first is None else first]
        if line != number or behind.strip() not in ("", ","):
            break
        first = begun
    return first


def _not_opened(text: FileText, lines: list[str], braces: _Braces, number: int, at: int, found: str) -> Mistake | None:
    """A bracket behind values of a list whose own bracket is missing."""
    bare, part = bare_line(lines, number), _first_of_list(braces, number, at)
    if found != "]" or part is None or "}" not in bare[at:]:
        return None
    sentence = f"the bracket that this one closes is missing; write [{shortened(bare[part:at])}]"
    return Mistake(number + 1, at + 1, sentence, text.with_insertion(number, part, "["))


def _bad_closing(text: FileText, lines: list[str], braces: _Braces) -> Mistake | None:
    if braces.forgotten is not None and braces.wrong is not None:
        number, at, opened = braces.forgotten
        right = CLOSING[opened]
        sentence = f"“{right}” is missing before this “{braces.wrong[2]}”"
        return Mistake(number + 1, at + 1, sentence, text.with_insertion(number, at, right))
    if braces.wrong is not None:
        number, at, found, opened = braces.wrong
        if (mistake := _not_opened(text, lines, braces, number, at, found)) is not None:
            return mistake
        right = CLOSING[opened]
        sentence = f"“{found}” does not close “{opened}”; write “{right}”"
        return Mistake(number + 1, at + 1, sentence, text.with_replacement(number, at, 1, right))
    if braces.unclosed:
        return _comment_within(text, lines, braces) or _unclosed(text, lines, braces)
    return None if braces.end is None else _closed_twice(text, lines, *braces.end)


def _unclosed(text: FileText, lines: list[str], braces: _Braces) -> Mistake:
    number, at, opened = braces.unclosed[0]
    closers = "".join(CLOSING[each[2]] for each in reversed(braces.unclosed))
    end = len(COMMENT.sub("", bare_line(lines, braces.last)).rstrip())
    mended = text.with_insertion(braces.last, end, closers) if braces.parts else None
    return Mistake(number + 1, at + 1, not_closed(opened), mended)


def _closed_twice(text: FileText, lines: list[str], number: int, at: int) -> Mistake | None:
    extra = re.compile(r"\s*([}\]])").match(bare_line(lines, number), at + 1)
    if extra is None:
        return None
    sentence = f"“{extra[1]}” closes nothing; delete it"
    return Mistake(number + 1, extra.start(1) + 1, sentence, text.with_replacement(number, extra.start(1), 1, " "))


_COMMENT_WITHIN = re.compile(r"(?:(?<=[ \t\[{,])|^)#(?P<rest>.*[}\]].*)$")


def _comment_within(text: FileText, lines: list[str], braces: _Braces) -> Mistake | None:
    """A “#” in a text between braces begins a comment, in which their partner stands."""
    number = braces.last
    bare = bare_line(lines, number)
    begun = braces.unclosed[-1][1] + 1 if braces.unclosed[-1][0] == number else 0
    found = _COMMENT_WITHIN.search(bare, begun)
    if found is None:
        return None
    at = found.start()
    part = next((first for line, first, end in braces.parts if line == number and first < at <= end + 1), at)
    if bare[at + 1 : at + 2].isspace() and part == at:
        return None  # a comment that a person meant
    if part == at and bare[at + 1 : at + 2].isdecimal():
        sentence = "“#” begins a comment here; delete it"
        return Mistake(number + 1, at + 1, sentence, text.with_replacement(number, at, 1, " "))
    end = re.compile(r"[,}\]]").search(bare, at)
    stop = len(bare.rstrip()) if end is None else end.start()
    sentence = f'a space and “#” begin a comment; a text with “#” in it stands in quotes: "{bare[part:stop].strip()}"'
    return Mistake(number + 1, at + 1, sentence, text.with_range_in_quotes(number, part, stop))


def _bad_part(text: FileText, lines: list[str], number: int, begun: int, end: int) -> Mistake | None:
    """One text between commas, in braces."""
    bare = bare_line(lines, number)
    part = bare[begun:end].rstrip()
    end = begun + len(part)
    if part[0] in "\"'":
        return _bad_quoted_part(text, number, bare, begun, end)
    found = (
        _key_in_part(text, number, begun, part)
        or _key_as_elsewhere(text, number, begun, bare)
        or _sign_first(text, number, begun, part)
    )
    if found is not None:
        return found
    if (colon := COLON.search(part)) is not None:
        return _colon_in_part(text, number, begun, part, colon.start())
    if (brace := re.search(r"[{\[]", part)) is not None:
        stop = _end_of_text(bare, end)
        sentence = f"a text with “{brace[0]}” in it stands in quotes where it is between braces"
        return Mistake(number + 1, begun + brace.start() + 1, sentence, text.with_range_in_quotes(number, begun, stop))
    return None


def _key_in_part(text: FileText, number: int, begun: int, part: str) -> Mistake | None:
    """A key without its colon before a list, or without a value behind its colon."""
    if (tight := _KEY_BEFORE_LIST.fullmatch(part)) is not None:
        column = begun + tight.end("key")
        sentence = f"a colon is missing behind “{tight['key']}”"
        return Mistake(number + 1, column + 1, sentence, text.with_insertion(number, column, ":"))
    if (alone := _KEY_ALONE.fullmatch(part)) is not None:
        sentence = f"a value is missing behind “{alone['key']}”"
        return Mistake(number + 1, begun + 1, sentence, text.with_insertion(number, begun + len(part), " ~"))
    return None


def _sign_first(text: FileText, number: int, begun: int, part: str) -> Mistake | None:
    """A text that begins with a sign that means something else there."""
    if part[0] not in "@`%*&!|>?" or not (len(part) == 1 or part[0] in "@`%|>" or part[1] == " "):
        return None
    sentence = f'a text that begins with “{part[0]}” stands in quotes: "{shortened(part)}"'
    if (meant := meant_by_sign(part)) is not None:
        sentence = f"“{shortened(part)}” is no comparison; write {meant}"
    return Mistake(number + 1, begun + 1, sentence, text.with_range_in_quotes(number, begun, begun + len(part)))


def _key_as_elsewhere(text: FileText, number: int, begun: int, bare: str) -> Mistake | None:
    """The key of a condition with brackets in it, or with a comparison and nothing behind its colon."""
    if (found := _KEY_WITH_BRACKETS.match(bare, begun)) is not None:
        key, plain = found["key"], without_brackets(found["key"])
        sentence = f"a key has no brackets; {or_which_fields(plain, f'{plain}: …')}"
        mended = text.with_replacement(number, begun, len(key), plain.ljust(len(key)))
        return Mistake(number + 1, begun + 1, sentence, mended)
    if (found := _KEY_BEHIND_SIGN.match(bare, begun)) is not None:
        written, plain = found["written"], found["key"]
        sentence = f"a key has no “{found['sign']}”; write {plain}: …"
        mended = text.with_replacement(number, begun, len(written), plain.ljust(len(written)))
        return Mistake(number + 1, begun + 1, sentence, mended)
    end = re.compile(r":(?=\s*[,}])").search(bare, begun)
    meant = None if end is None else meant_condition(bare[begun : end.start()])
    if end is None or meant is None or not meant.value:
        return None
    sentence = f"“{bare[begun : end.start()]}” is no field; write {meant.written(meant.value)}"
    return Mistake(number + 1, begun + 1, sentence, text.with_insertion(number, end.end(), " ~"))


_KEY_WITH_BRACKETS = re.compile(rf"(?P<key>{BRACKETED_PATH.pattern})[ ]*:(?=\s|$)")
_KEY_BEHIND_SIGN = re.compile(r"(?P<written>(?P<sign>[@`%*&$#])\{?[ ]?(?P<key>[A-Za-z_][\w.]*)\}?`?)[ ]*:(?=\s|$)")
_KEY_ALONE = re.compile(r"(?P<key>[a-z0-9_]+):")
_KEY_BEFORE_LIST = re.compile(r"(?P<key>[a-z0-9_]+) [\[{][\w ]*")


def _bad_quoted_part(text: FileText, number: int, bare: str, begun: int, end: int) -> Mistake | None:
    close = closing_quote(bare, begun)
    if close is None:
        mended = text.requoted(number, begun, end)
        return Mistake(number + 1, begun + 1, not_closed(bare[begun]), mended)
    if close < end - 1:
        return Mistake(number + 1, close + 1, more_follows(bare[begun]), text.requoted(number, begun, end))
    return None


_BEFORE_KEYS = re.compile(r"(?<![\w.])(?P<key>[a-z][\w.]*): +$")
_LANGUAGE = re.compile("[a-z]{2}(_[A-Z]{2})?")


def _colon_in_part(text: FileText, number: int, begun: int, part: str, colon: int) -> Mistake:
    """A comma is missing before a key, or the text has a colon in it."""
    word = re.search(r"[\w.]+$", part[:colon])
    if (
        word is not None
        and word.start() > 0
        and (word[0] in KEYS or _LANGUAGE.fullmatch(word[0]) or _is_key_elsewhere(text, number, word[0]))
    ):
        column = begun + len(part[: word.start()].rstrip())
        sentence = f"a comma is missing before “{word[0]}”"
        return Mistake(number + 1, column + 1, sentence, text.with_insertion(number, column, ","))
    before = _BEFORE_KEYS.search(bare_line(text.lines(), number)[:begun])
    if before is not None and (before["key"] in HOLD_CONDITIONS or STANDS_IN_BRACES.match(part)):
        end = begun + len(part)
        sentence = f"keys behind another key stand in braces: {before['key']}: {{{shortened(part)}}}"
        mended = text.with_insertion(number, end, "}").with_insertion(number, begun, "{")
        return Mistake(number + 1, begun + 1, sentence, mended)
    sentence = f'a text with a colon and a space in it stands in quotes: "{shortened(part)}"'
    mended = text.with_range_in_quotes(number, begun, begun + len(part))
    return Mistake(number + 1, begun + colon + 1, sentence, mended)


def _is_key_elsewhere(text: FileText, number: int, word: str) -> bool:
    """Whether the word is a key on another line of the file, as buttons are in each language."""
    found = re.compile(rf"(?:^[ ]*|[{{,][ ]*){re.escape(word)}: ")
    return any(found.search(bare) for at, bare in enumerate(text.lines()) if at != number)


def _end_of_text(bare: str, end: int) -> int:
    """Behind the parameters of the text: up to the comma before the next key, or the last closing brace."""
    found = re.compile(r",[ ]*[\w.]+:[ ]|[}\]][}\]\s]*(?:#.*)?$").search(bare, end)
    return found.start() if found else len(bare.rstrip())
