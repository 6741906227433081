"""Posts or updates one comment on a pull request, through the API of its forge.

The comment is found again by a hidden marker in its first line. The same text is not written twice, and of several
comments with the marker the first is kept. GitHub's API is that of Gitea and Forgejo too.
"""

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp

from shared.contracts.errors import Misconfigured, Unavailable

MOST_CHARACTERS = 60_000
"""Less than any forge takes, also where each has four bytes.

GitHub refuses a comment above 262,144 bytes and speaks of “65536 characters” (https://github.com/dead-claudia/github-limits);
GitLab takes a million characters.
"""

_TIMEOUT = aiohttp.ClientTimeout(total=30)
_PAGE = 100
_MOST_PAGES = 50


class ForgeName(StrEnum):
    GITHUB = "github"
    GITLAB = "gitlab"


@dataclass(frozen=True, slots=True)
class Comment:
    number: int
    body: str


class Forge(Protocol):
    """The comments of one pull request."""

    def headers(self) -> Mapping[str, str]: ...

    def list_address(self, page: int) -> str: ...

    def create_address(self) -> str: ...

    def comment_address(self, number: int) -> str: ...

    @property
    def update_method(self) -> str: ...


@dataclass(frozen=True, slots=True)
class GitHub:
    """``api`` is https://api.github.com, or that of a server of one's own."""

    api: str
    repository: str
    pull_request: int
    token: str
    update_method: str = "PATCH"

    def headers(self) -> Mapping[str, str]:
        return {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    def list_address(self, page: int) -> str:
        return f"{self.create_address()}?per_page={_PAGE}&page={page}"

    def create_address(self) -> str:
        return f"{self.api}/repos/{self.repository}/issues/{self.pull_request}/comments"

    def comment_address(self, number: int) -> str:
        return f"{self.api}/repos/{self.repository}/issues/comments/{number}"


@dataclass(frozen=True, slots=True)
class GitLab:
    """``project`` is its number or its path."""

    api: str
    project: str
    merge_request: int
    token: str
    update_method: str = "PUT"

    def headers(self) -> Mapping[str, str]:
        return {"PRIVATE-TOKEN": self.token}

    def list_address(self, page: int) -> str:
        return f"{self.create_address()}?per_page={_PAGE}&page={page}&sort=asc"

    def create_address(self) -> str:
        project = quote(self.project, safe="")
        return f"{self.api}/projects/{project}/merge_requests/{self.merge_request}/notes"

    def comment_address(self, number: int) -> str:
        return f"{self.create_address()}/{number}"


# ------------------------------------------------------------------ from the environment


def forge_of(environment: Mapping[str, str], chosen: ForgeName | None = None) -> Forge:
    """The forge whose pipeline this is. Raises Misconfigured naming the variable that is missing."""
    if chosen is None and environment.get("GITHUB_ACTIONS"):
        chosen = ForgeName.GITHUB
    if chosen is None and environment.get("GITLAB_CI"):
        chosen = ForgeName.GITLAB
    if chosen is None:
        raise Misconfigured("--forge", "this is no pipeline of GitHub or GitLab, so say which forge it is")
    return _github_of(environment) if chosen is ForgeName.GITHUB else _gitlab_of(environment)


def _github_of(environment: Mapping[str, str]) -> GitHub:
    return GitHub(
        api=environment.get("GITHUB_API_URL", "https://api.github.com").rstrip("/"),
        repository=_needed(environment, "GITHUB_REPOSITORY"),
        pull_request=_pull_request_of(environment),
        token=_needed(environment, "GITHUB_TOKEN"),
    )


def _pull_request_of(environment: Mapping[str, str]) -> int:
    found = re.fullmatch(r"refs/pull/(\d+)/(merge|head)", environment.get("GITHUB_REF", ""))
    if found is not None:
        return int(found[1])
    path = environment.get("GITHUB_EVENT_PATH")
    event = json.loads(Path(path).read_text("utf-8")) if path else {}
    number = (event.get("pull_request") or {}).get("number")
    if not isinstance(number, int):
        raise Misconfigured("GITHUB_REF", "this pipeline does not belong to a pull request")
    return number


def _gitlab_of(environment: Mapping[str, str]) -> GitLab:
    return GitLab(
        api=_needed(environment, "CI_API_V4_URL").rstrip("/"),
        project=_needed(environment, "CI_PROJECT_ID"),
        merge_request=int(_needed(environment, "CI_MERGE_REQUEST_IID")),
        token=_needed(environment, "GITLAB_TOKEN"),
    )


def _needed(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise Misconfigured(name, "it must be set to write a comment")
    return value


# ------------------------------------------------------------------ the comment


class Written(StrEnum):
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


_REST = "*The rest is too long for a comment; the pipeline's log has it.*"
_FENCE = "```"


def comment_text(marker: str, *texts: str) -> str:
    """The texts below a hidden marker and each other.

    Where a forge would refuse them, the longest are cut at the end of a line, so that each is there with its beginning.
    """
    head = f"<!-- stet:{marker} -->\n"
    room = MOST_CHARACTERS - len(head) - 2 * len(texts)
    parts = dict(sorted(enumerate(texts), key=lambda part: len(part[1])))
    for left, (number, text) in zip(range(len(parts), 0, -1), tuple(parts.items()), strict=True):
        parts[number] = _cut(text.strip(), room // left)
        room -= len(parts[number])
    return head + "\n\n".join(parts[number] for number in sorted(parts))


def _cut(text: str, most: int) -> str:
    """Cut at the end of a line, with an end of the block of code that is open there."""
    if len(text) <= most:
        return text
    kept = text[: most - len(_REST) - len(_FENCE) - 3].rpartition("\n")[0]
    is_open = sum(line.startswith(_FENCE) for line in kept.splitlines()) % 2
    return f"{kept}\n{_FENCE if is_open else ''}\n{_REST}"


async def write_comment(forge: Forge, marker: str, *texts: str) -> Written:
    """Create the comment, or update it. Raises Unavailable with what the forge answered."""
    body = comment_text(marker, *texts)
    head = body.partition("\n")[0]
    try:
        async with aiohttp.ClientSession(timeout=_TIMEOUT, headers=forge.headers()) as session:
            mine = [one async for one in _comments(session, forge) if one.body.startswith(head)]
            if not mine:
                await _call(session, "POST", forge.create_address(), {"body": body})
                return Written.CREATED
            for extra in mine[1:]:
                await _call(session, "DELETE", forge.comment_address(extra.number))
            if _same(mine[0].body, body):
                return Written.UNCHANGED
            await _call(session, forge.update_method, forge.comment_address(mine[0].number), {"body": body})
            return Written.UPDATED
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unavailable(f"the forge cannot be reached: {type(error).__name__}: {error}") from error


def _same(one: str, other: str) -> bool:
    """Forges change the ends of lines."""
    return one.replace("\r\n", "\n").rstrip() == other.rstrip()


async def _comments(session: aiohttp.ClientSession, forge: Forge) -> AsyncIterator[Comment]:
    for page in range(1, _MOST_PAGES + 1):
        found = await _call(session, "GET", forge.list_address(page))
        for one in found:
            yield Comment(int(one["id"]), str(one.get("body") or ""))
        if len(found) < _PAGE:
            return


async def _call(session: aiohttp.ClientSession, method: str, address: str, data: object = None) -> Any:
    async with session.request(method, address, json=data) as answer:
        if answer.status >= 300:
            body = (await answer.text())[:300]
            raise Unavailable(
                f"{method} {address.partition('?')[0]} answered {answer.status}: {body}{_hint(answer.status)}"
            )
        return await answer.json() if answer.status != 204 else None


def _hint(status: int) -> str:
    if status in {401, 403, 404}:
        return " (may the token write comments? A pull request from a fork has none that may)"
    return ""
