"""Mends characters that no file may hold, and signs in the place of an ordinary space."""

import re

from services.rules.rulebook.yaml_lines import FileText, Mistake, split_lines

_ODD = re.compile(
    "[^\t\n\r\x20-\x7e\xa1-\xac\xae-\u1fff\u2010-\u2027\u2030-\u2fff\u3001-\ud7ff\uf900-\ufefe\uff01-\ufffd]"
)
"""The characters that are looked at more closely; letters of all languages are not."""
_ILLEGAL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u2028\u2029]")
_SPACES = "\xa0\u2000-\u200a\u202f\u205f\u3000"
_INVISIBLE = "\u200b-\u200f\u2060\ufeff\xad"
_STRUCTURAL = re.compile(
    rf"^[ \t]*(?P<lead>[{_SPACES}{_INVISIBLE}]+)"  # before the first word of a line
    rf"|^[ ]*(?:-[ ]+)*-?(?P<dash>(?<=-)[{_SPACES}]+)"  # behind a dash
    rf"|(?:^[ ]*(?:-[ ]+)*|[{{,][ ]*)[\w.]+(?P<before>[{_SPACES}{_INVISIBLE}]*):(?P<behind>[{_SPACES}{_INVISIBLE}]*)",
)
_KIND_OF_SPACE = {"\xa0": "a no-break space", "\u202f": "a narrow no-break space", "\u3000": "an ideographic space"}


_QUOTED_KEY = re.compile(r"^> ?(?:[a-z_]+:|[ ]*- [a-z_]+:)", re.MULTILINE)
_QUOTE = re.compile(r"^>(?: |$)")
_QUOTED = "“>” marks a line of an e-mail that was answered; delete it"


def mend_characters(text: str) -> tuple[FileText, list[Mistake]]:
    """The text without forbidden characters, and with plain spaces where YAML needs a space; and what was mended."""
    text = text.removeprefix("\ufeff")
    is_quoted = _QUOTED_KEY.search(text) is not None
    if not is_quoted and not _ODD.search(text):
        return FileText(text), []
    lines, mistakes = split_lines(text), []
    if is_quoted:
        mistakes += [Mistake(number + 1, 1, _QUOTED) for number, line in enumerate(lines) if _QUOTE.match(line)]
        lines = [_QUOTE.sub("", line) for line in lines]
    for number, line in enumerate(lines):
        if _ODD.search(line):
            lines[number], found = _mend_line(number, line)
            mistakes += found
    return FileText("".join(lines)), _grouped(mistakes)


def _mend_line(number: int, line: str) -> tuple[str, list[Mistake]]:
    """The line with ordinary spaces in place of what is wrong, of the same length."""
    found: list[Mistake] = []
    for illegal in _ILLEGAL.finditer(line):
        sentence = f"no text may hold the character U+{ord(illegal[0]):04X}; delete it"
        found.append(Mistake(number + 1, illegal.start() + 1, sentence))
    line = _ILLEGAL.sub(" ", line)
    for match in _STRUCTURAL.finditer(line):
        for group in ("lead", "dash", "before", "behind"):
            if match[group]:
                found.append(Mistake(number + 1, match.start(group) + 1, _space_sentence(match[group][0])))
                line = f"{line[: match.start(group)]}{' ' * len(match[group])}{line[match.end(group) :]}"
    return line, found


def _space_sentence(character: str) -> str:
    if re.match(f"[{_INVISIBLE}]", character):
        return f"an invisible character stands here (U+{ord(character):04X}); delete it"
    kind = _KIND_OF_SPACE.get(character, f"a special space (U+{ord(character):04X})")
    return f"this is {kind}, which does not count as a space; type an ordinary space"


def _grouped(mistakes: list[Mistake]) -> list[Mistake]:
    """Each sentence once, with the further lines it is true of."""
    by_sentence: dict[str, list[Mistake]] = {}
    for mistake in mistakes:
        by_sentence.setdefault(mistake.sentence, []).append(mistake)
    return [
        Mistake(first.line, first.column, first.sentence + also_on_lines([each.line for each in more], first.line))
        for first, *more in by_sentence.values()
    ]


_GARBLED = re.compile(
    "Ã[\xa0-\xba\xbc-\xbf€ƒ„†‡ˆ‰Š‹ŒŽ‘•˜™š›œžŸ\x81\x8d\x8f\x90\x9d]|Â[\xa0-\xba\xbc-\xbf]|â€[™œž¢¦˜“”\x9d\x93\x94]|Å“(?=[a-z])"
)
"""Letters and typographic signs in UTF-8, as programs show them that take them for Windows-1252. Pairs that may also be
a capital letter before a closing quotation mark are not among them.
"""
_SIGNS_OF_IT = ("Ã", "Â", "â€", "Å“")


def find_garbled(text: str) -> Mistake | None:
    """The first letter that another program spoilt when it read the file in another encoding than UTF-8."""
    if not any(sign in text for sign in _SIGNS_OF_IT):
        return None
    found = [(number, match) for number, line in enumerate(split_lines(text)) for match in _GARBLED.finditer(line)]
    if not found:
        return None
    (number, first), lines = found[0], [each + 1 for each, _ in found]
    meant = _as_meant(first[0])
    sentence = f"“{first[0]}” was “{meant}” before a program read this file in another encoding; write it so again"
    return Mistake(number + 1, first.start() + 1, sentence + also_on_lines(lines, number + 1))


def _as_meant(garbled: str) -> str:
    try:
        return garbled.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return {"â€\x9d": "”", "â€”": "”", "â€“": "–"}.get(garbled, "…")


def also_on_lines(lines: list[int], first: int) -> str:
    others = [str(line) for line in sorted({*lines} - {first})]
    if not others:
        return ""
    shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
    return f" (also on line{'s' if len(others) > 1 else ''} {shown})"
