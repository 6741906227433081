"""How the back end tidies what it is given before it keeps it: what is read back may differ from what was sent."""

import re
import unicodedata

_SPACES = re.compile(r"\s+")
_PREFIX = re.compile(r"^(?:(The|An|A|Les|Le|La|Un|Une|Der|Die|Das)\s+|(L[’']))(?=\S)", re.IGNORECASE)
_STRONG = re.compile(r"\*\*(.+?)\*\*")
_EMPHASIS = re.compile(r"\*(.+?)\*")
_TAG = re.compile(r"<[^>]+>")


def line(text: str) -> str:
    """One line: NFC, trimmed, runs of white space made one space."""
    return _SPACES.sub(" ", unicodedata.normalize("NFC", text)).strip()


def prose(text: str) -> str:
    """Paragraphs: NFC, trimmed, Unix newlines."""
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").strip()


def split_title(title: str) -> tuple[str | None, str]:
    """``The Salt Road`` → (``The``, ``Salt Road``); a title that is only an article keeps it."""
    found = _PREFIX.match(title)
    if found is None:
        return None, title
    return found[1] or found[2], title[found.end() :]


def join_title(prefix: str | None, rest: str) -> str:
    if not prefix:
        return rest
    return f"{prefix}{rest}" if prefix[-1] in "’'" else f"{prefix} {rest}"


def html(markdown: str) -> str:
    """As much of Markdown as a jacket text uses: paragraphs, strong, emphasis."""
    marked = _EMPHASIS.sub(r"<em>\1</em>", _STRONG.sub(r"<strong>\1</strong>", markdown))
    return "".join(f"<p>{part.strip()}</p>" for part in marked.split("\n\n") if part.strip())


def plain(markdown: str) -> str:
    return _TAG.sub("", html(markdown).replace("</p><p>", "\n\n"))
