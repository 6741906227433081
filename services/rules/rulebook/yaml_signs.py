"""Mends signs in the place of YAML's own that do not stop its parser, and are read as words: comments of other
languages, the colon of another keyboard, and a dash where a colon belongs before braces.
"""

import re

from services.rules.rulebook.yaml_characters import also_on_lines
from services.rules.rulebook.yaml_lines import COMMENT, FileText, Mistake, bare_line, lines_within_texts, shortened

_COMMENT = re.compile(r"^[ ]*(?P<sign>//|/\*|<!--)")
_ENDS_OF_COMMENTS = {"/*": "*/", "<!--": "-->"}
_KEY = r"(?P<key>[a-z][a-z0-9_.]*)"
_WIDE_COLON = re.compile(rf"(?:^[ ]*(?:-[ ]+)*|[{{,][ ]*){_KEY}(?P<sign>[ ]*：[ ]*)(?P<rest>[^,}}]*)")
_DASH = re.compile(rf"^[ ]*(?:-[ ]+)*{_KEY}[ ]+(?P<sign>-)[ ]+(?P<rest>(?:\{{[^{{}}]*: |\[).*[}}\]])[ ]*(?:#.*)?$")


def mend_signs(text: FileText) -> tuple[FileText, list[Mistake]]:
    """The text with the signs that are meant, and what was mended. Texts on lines of their own stay as they are."""
    has_comments = any(sign in text.text for sign in ("//", "/*", "<!--"))
    has_dash = any(sign in text.text for sign in (" - {", " - [")) and _has_dash_behind_a_word(text.text)
    if not (has_comments or has_dash or "：" in text.text):
        return text, []
    mistakes: list[Mistake] = []
    within = lines_within_texts(text.lines())
    if has_comments:
        text, found = _without_comments(text, within)
        mistakes += found
    for number in range(len(text.lines())):
        if number not in within:
            text, found = _with_colons(text, number)
            mistakes += found
    return text, mistakes


def _has_dash_behind_a_word(text: str) -> bool:
    for sign in (" - {", " - ["):
        at = text.find(sign)
        while at >= 0:
            if text[at - 1 : at].isalnum():
                return True
            at = text.find(sign, at + 1)
    return False


def _without_comments(text: FileText, within: frozenset[int]) -> tuple[FileText, list[Mistake]]:
    """With “#” before each line of a comment of another language; each sign is reported once, with all its lines."""
    places: dict[str, list[tuple[int, int]]] = {}
    end: str | None = None
    for number in range(len(text.lines())):
        bare = bare_line(text.lines(), number)
        begun = _COMMENT.match(bare) if end is None and number not in within else None
        if begun is not None:
            places.setdefault(begun["sign"], []).append((number + 1, begun.start("sign") + 1))
            end = _ENDS_OF_COMMENTS.get(begun["sign"])
        if begun is None and end is None:
            continue
        text = text.with_line(number, "#")
        end = None if end is None or end in bare else end
    mistakes = []
    for sign, found in places.items():
        (line, column), *_ = found
        also = also_on_lines([each for each, _ in found], line)
        mistakes.append(Mistake(line, column, f"a comment begins with “#”, not with “{sign}”{also}"))
    return text, mistakes


def _with_colons(text: FileText, number: int) -> tuple[FileText, list[Mistake]]:
    mistakes = []
    bare = bare_line(text.lines(), number)
    dash = _DASH.match(bare)
    for found in [*([dash] if dash is not None else []), *reversed(list(_WIDE_COLON.finditer(bare)))]:
        sign, rest = found["sign"].strip(), found["rest"]
        if bare[found.start()] not in "{,":
            rest = COMMENT.sub("", bare[found.start("rest") :])
        if sign == "：" and bare[found.start()] == "," and "{" not in bare[: found.start()]:
            continue  # a comma within a text
        at = found.start("sign") + found["sign"].index(sign)
        text = text.with_replacement(number, at, 1, ":")
        if sign == "：" and not found["sign"].endswith(" ") and found["rest"]:
            text = text.with_insertion(number, at + 1, " ")
        is_wide = sign == "：" and not found["sign"].startswith(" ")
        what = f"“{sign}” is no colon" if is_wide else f"“{sign}” does not follow a key"
        mistakes.append(
            Mistake(number + 1, at + 1, f"{what}; write {found['key']}: {shortened(rest.strip())}".rstrip())
        )
    return text, mistakes[::-1]
