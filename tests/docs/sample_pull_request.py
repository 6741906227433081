"""The sample pull request of docs/rules/pull-request.md: its comment and its picture, made by the commands themselves.

The page shows a change as a unified diff. It is laid over a copy of the shipped rules for rights, and the commands
``stet rules diff`` and ``graph`` compare the two folders. ``make rule-pages`` writes the comment, the picture, and a
hash of the files of these rules; the test makes the picture and the hash anew, and leaves the slow comparison out.
"""

import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from services.rules.rulebook.rule_folder import read_folder
from tests.docs.pages import ROOT
from tests.docs.rule_page_outputs import shared_files
from tests.ops.stet_command import run_stet

PAGE = ROOT / "docs/rules/pull-request.md"
PICTURE = ROOT / "docs/rules/pull-request.svg"
_COMMENT = re.compile(r"(?<=<!-- comment -->\n).*?(?=<!-- end of the comment -->)", re.DOTALL)
_HASH = re.compile(r"(?<=<!-- made from )\w+(?= -->)")
_CHANGE = re.compile(r"^```diff\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def files() -> tuple[dict[str, str], dict[str, str]]:
    """The rules before and after the change, by name."""
    rights = {name: text for name, text in read_folder(ROOT / "rules").items() if name.startswith("rights/")}
    base = shared_files() | rights
    head = dict(base)
    for change in _CHANGE.findall(PAGE.read_text("utf-8")):
        name, *hunks = re.split(r"^@@.*\n", change, flags=re.MULTILINE)
        file = re.findall(r"^\+\+\+ b/rules/(\S+)$", name, re.MULTILINE)[0]
        for hunk in hunks:
            head[file] = _applied(hunk.splitlines(keepends=True), head[file])
    return base, head


def _applied(hunk: list[str], text: str) -> str:
    """Raises ValueError where the text does not have the lines that the change takes out."""
    old = "".join(line[1:] for line in hunk if line[0] in " -")
    new = "".join(line[1:] for line in hunk if line[0] in " +")
    if text.count(old) != 1:
        raise ValueError(f"the change of {PAGE.name} does not fit any more: {old}")
    return text.replace(old, new)


def made_from() -> str:
    """A hash of the rules for rights, with their templates and stories, before and after."""
    rights = [sorted(item for item in side.items() if item[0].startswith("rights/")) for side in files()]
    return hashlib.sha256(repr(rights).encode()).hexdigest()[:16]


def picture() -> str:
    with _folders():
        return _printed("graph", "rights-approval", "--folder", "head", "--base", "base", "--format", "svg")


def comment() -> str:
    with _folders():
        return _printed("diff", "base", "head", "--format", "markdown")


@contextmanager
def _folders() -> Iterator[None]:
    """The folders ``base`` and ``head`` in the current one."""
    with tempfile.TemporaryDirectory() as place, chdir(place):
        for folder, texts in zip(("base", "head"), files(), strict=True):
            for name, text in texts.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
        yield


def _printed(*arguments: str) -> str:
    printed = StringIO()
    with redirect_stdout(printed), redirect_stderr(StringIO()):
        run_stet("rules", *arguments)
    return printed.getvalue()


if __name__ == "__main__":
    quoted = "".join(f"> {line}".rstrip() + "\n" for line in comment().splitlines())
    page_text = _COMMENT.sub(lambda _: f"\n{quoted}\n", PAGE.read_text("utf-8"))
    PAGE.write_text(_HASH.sub(made_from(), page_text), "utf-8")
    PICTURE.write_text(picture(), "utf-8")
