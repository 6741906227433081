"""The pipelines that rules/ ships do what they say: their very steps run here, against forges that record the calls."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from ruamel.yaml import YAML

from dev.layout import ROOT
from ops.rules.forges import GitHub, GitLab, Written, comment_text, forge_of, write_comment
from ops.rules.owners import code_owners
from shared.contracts.errors import Misconfigured, Unavailable
from tests.services.rules.rulebooks import BOOK

pytestmark = pytest.mark.timeout(240)  # the steps of a pipeline, as the forge runs them

WORKFLOW = ROOT / "rules/.github/workflows/rules.yml"
PIPELINE = ROOT / "rules/.gitlab-ci.yml"
HANDLES = {"*": "@house", "rights": "@house/rights", "acquisitions": ["@house/acquisitions", "@jane"]}


@dataclass
class FakeForge:
    """The comments of a pull request at both forges' addresses. ``calls`` are what changed something."""

    comments: dict[int, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    address: str = ""
    is_read_only: bool = False

    async def collection(self, request: web.Request) -> web.Response:
        self._note(request)
        if request.method == "GET":
            page, size = int(request.query["page"]), int(request.query["per_page"])
            rows = [{"id": number, "body": body} for number, body in sorted(self.comments.items())]
            return web.json_response(rows[(page - 1) * size : page * size])
        if self.is_read_only:
            return web.json_response({"message": "Resource not accessible by integration"}, status=403)
        number = max(self.comments, default=0) + 1
        self.comments[number] = (await request.json())["body"]
        return web.json_response({"id": number}, status=201)

    async def single(self, request: web.Request) -> web.Response:
        self._note(request)
        number = int(request.match_info["number"])
        if request.method == "DELETE":
            del self.comments[number]
            return web.Response(status=204)
        self.comments[number] = (await request.json())["body"]
        return web.json_response({"id": number})

    def _note(self, request: web.Request) -> None:
        self.tokens.add(request.headers.get("Authorization", request.headers.get("PRIVATE-TOKEN", "")))
        if request.method != "GET":
            self.calls.append(f"{request.method} {request.path}")

    @property
    def github(self) -> GitHub:
        return GitHub(self.address, "house/rules", 7, "secret")

    @property
    def gitlab(self) -> GitLab:
        return GitLab(self.address, "42", 7, "secret")


@asynccontextmanager
async def serving() -> AsyncIterator[FakeForge]:
    forge, app = FakeForge(), web.Application()
    github, gitlab = "/repos/house/rules/issues", "/projects/42/merge_requests/7/notes"
    app.router.add_route("*", f"{github}/7/comments", forge.collection)
    app.router.add_route("*", f"{github}/comments/{{number}}", forge.single)
    app.router.add_route("*", gitlab, forge.collection)
    app.router.add_route("*", f"{gitlab}/{{number}}", forge.single)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    forge.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield forge
    finally:
        await runner.cleanup()


# ------------------------------------------------------------------ the comment


@pytest.mark.parametrize("name", ["github", "gitlab"])
async def test_there_is_one_comment_and_it_is_updated(name: str) -> None:
    async with serving() as fake:
        forge = getattr(fake, name)
        fake.comments = {number: f"a person's word {number}" for number in range(1, 131)}
        assert await write_comment(forge, "rules", "first") is Written.CREATED
        assert await write_comment(forge, "rules", "first") is Written.UNCHANGED
        assert await write_comment(forge, "rules", "second") is Written.UPDATED
        assert await write_comment(forge, "other", "another") is Written.CREATED
        assert fake.comments[131] == "<!-- stet:rules -->\nsecond"
        assert [call.partition(" ")[0] for call in fake.calls] == ["POST", forge.update_method, "POST"]


async def test_of_two_comments_of_ours_the_first_stays() -> None:
    async with serving() as fake:
        fake.comments = {1: comment_text("rules", "old"), 2: "a person's", 3: comment_text("rules", "older run")}
        await write_comment(fake.github, "rules", "new")
        assert fake.comments == {1: comment_text("rules", "new"), 2: "a person's"}


async def test_a_token_that_may_not_write_is_said() -> None:
    async with serving() as fake:
        fake.is_read_only = True
        with pytest.raises(Unavailable, match=r"403.*may the token write comments"):
            await write_comment(fake.github, "rules", "text")


def test_a_text_that_is_too_long_ends_with_a_whole_line() -> None:
    text = comment_text("rules", "a line of text\n" * 10_000)
    assert len(text) <= 60_000
    assert "a line of text\n\n*The rest is too long" in text


def test_one_long_text_leaves_room_for_the_others() -> None:
    difference, proof = "### 3 messages more\n" * 1000, "**all holds**"
    text = comment_text("rules", "| a fault |\n" * 10_000, difference, proof)
    assert len(text) <= 60_000
    assert difference.strip() in text
    assert text.endswith(f"\n\n{proof}")
    assert len(text) > 55_000


def test_a_text_is_not_cut_within_a_block_of_code() -> None:
    text = comment_text("rules", "**a story**\n\n```\n" + "- expect: nothing\n" * 10_000 + "```\n", "**all holds**")
    assert "- expect: nothing\n```\n*The rest is too long" in text


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, "--forge"),
        ({"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "a/b", "GITHUB_REF": "refs/heads/main"}, "GITHUB_REF"),
        ({"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "a/b", "GITHUB_REF": "refs/pull/7/merge"}, "GITHUB_TOKEN"),
        ({"GITLAB_CI": "true", "CI_API_V4_URL": "https://x/api/v4", "CI_PROJECT_ID": "1"}, "CI_MERGE_REQUEST_IID"),
    ],
)
def test_a_variable_that_a_pipeline_lacks_is_named(environment: Mapping[str, str], named: str) -> None:
    with pytest.raises(Misconfigured, match=named):
        forge_of(environment)


# ------------------------------------------------------------------ owners


async def committed(folder: Path) -> str:
    """The commit that holds the folder, in a repository that has itself for its origin."""
    who = "-c user.name=house -c user.email=house@example.test"
    script = (
        f"git init -q && git add . && git {who} commit -q -m rules && git remote add origin . && git rev-parse HEAD"
    )
    code, output = await run_bash(script, folder, {})
    assert code == 0, output
    return output.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A rules repository as a publisher has it."""
    folder = shutil.copytree(BOOK, tmp_path / "head")
    story, question = folder / "pitch/pitch.test.yaml", "{collect: 555, say: pitch.title}"
    story.write_text(story.read_text().replace("line: acquisitions}]", f"line: acquisitions}}, {question}]"))
    YAML().dump(HANDLES, folder / ".owners.yaml")
    (folder / "CODEOWNERS").write_text(code_owners(folder, folder / ".owners.yaml", "/"))
    return folder


def test_each_rule_belongs_to_its_team_with_its_stories_and_templates(repository: Path) -> None:
    lines = (repository / "CODEOWNERS").read_text().splitlines()[1:]
    assert lines[0] == "* @house"
    assert "/rights/permission.rule.yaml @house/rights" in lines
    assert "/rights/permission.test.yaml @house/rights" in lines
    assert "/rights/permission_request.template.yaml @house/rights" in lines
    assert "/pitch/pitch.form.yaml @house/acquisitions @jane" in lines


def test_a_team_without_a_handle_is_named(repository: Path) -> None:
    (repository / ".owners.yaml").write_text('"*": "@house"\nrights: "@house/rights"\n')
    with pytest.raises(Misconfigured, match="no handle of acquisitions"):
        code_owners(repository, repository / ".owners.yaml", "/")


def test_the_owners_of_the_shipped_rules_are_the_generated_ones() -> None:
    rules = ROOT / "rules"
    assert (rules / "CODEOWNERS").read_text() == code_owners(rules, rules / ".owners.yaml", "/"), (
        "run: stet rules owners rules > rules/CODEOWNERS"
    )


# ------------------------------------------------------------------ the pipelines


async def run_bash(script: str, folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """As a runner of GitHub runs ``shell: bash``."""
    inherited = {"PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}", "HOME": str(folder), "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script,
        cwd=folder, env={**inherited, **environment}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


OF_A_JOB = frozenset({"github", "needs", "strategy", "matrix", "vars", "secrets", "inputs"})
"""The contexts that an expression of a job's own keys may name; a workflow that names another there never starts.
https://docs.github.com/en/actions/reference/workflows-and-actions/contexts#context-availability"""


def steps_of_workflow(values: Mapping[str, str]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Name, script and environment of each step that runs a command, with its expressions filled in."""
    job: dict[str, Any] = YAML(typ="safe").load(WORKFLOW.read_text())["jobs"]["rules"]
    for step in job["steps"]:
        if "run" in step:
            assert "${{" not in step["run"], "an expression in a script is open to injection"
            said = {**job.get("env", {}), **step.get("env", {})}
            yield step["name"], step["run"], {name: filled(text, values) for name, text in said.items()}


def filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{\{ *(.+?) *\}\}", lambda found: values[found[1]], text)


def test_the_job_of_github_names_contexts_that_it_has() -> None:
    job: dict[str, Any] = YAML(typ="safe").load(WORKFLOW.read_text())["jobs"]["rules"]
    own = str({key: value for key, value in job.items() if key != "steps"})
    named = re.findall(r"\$\{\{ *(\w+)", own)
    assert named
    assert OF_A_JOB.issuperset(named)


async def test_the_workflow_of_github_posts_one_comment_and_then_updates_it(repository: Path) -> None:
    base = shutil.copytree(repository, repository / ".base")
    template = next(base.rglob("permission_request.template.yaml"))
    template.write_text(
        template.read_text().replace("vous demande l’autorisation", "aimerait savoir s’il est permis", 1)
    )
    async with serving() as fake:
        values = {"github.token": "secret", "vars.STET_BUNDLE": ""}
        pipeline = {
            "GITHUB_ACTIONS": "true", "GITHUB_API_URL": fake.address, "GITHUB_REPOSITORY": "house/rules",
            "GITHUB_REF": "refs/pull/7/merge",
        }  # fmt: skip
        results = {}
        for name, script, environment in steps_of_workflow(values):
            results[name] = await run_bash(script, repository, {**pipeline, **environment})
        assert {name: code for name, (code, _) in results.items() if code} == {}, results
        assert fake.calls == ["POST /repos/house/rules/issues/7/comments"]
        assert fake.tokens == {"Bearer secret"}
        assert "fine" in fake.comments[1]
        assert "in other words" in fake.comments[1], "the pull request words the question anew"
        report = repository / ".report/1-check.md"
        report.write_text("the rules are at fault\n")
        *_, (_, script, environment) = steps_of_workflow(values)
        assert await run_bash(script, repository, {**pipeline, **environment}) == (0, "the comment was updated\n")
        assert fake.calls[1:] == ["PATCH /repos/house/rules/issues/comments/1"]


async def test_the_workflow_of_github_marks_a_fault_at_its_line_of_the_pull_request(repository: Path) -> None:
    rule = repository / "rights/permission.rule.yaml"
    rule.write_text(rule.read_text().replace("ask: rights_holder", "ask: rights_holdr"))
    (name, script, environment), *_ = steps_of_workflow({"github.token": "secret", "vars.STET_BUNDLE": ""})
    code, output = await run_bash(script, repository, environment)
    assert (name, code) == ("Check", 1)
    assert "::error file=rights/permission.rule.yaml,line=9,col=10," in output, "a path from the root of the repository"


async def test_the_pipeline_of_gitlab_posts_its_comment_and_fails_where_the_rules_do(repository: Path) -> None:
    base = await committed(repository)
    rule = repository / "rights/permission.rule.yaml"
    rule.write_text(rule.read_text().replace("ask: rights_holder", "ask: rights_holdr"))
    async with serving() as fake:
        pipeline = {
            "GITLAB_CI": "true", "CI_API_V4_URL": fake.address, "CI_PROJECT_ID": "42", "CI_MERGE_REQUEST_IID": "7",
            "GITLAB_TOKEN": "secret", "CI_MERGE_REQUEST_DIFF_BASE_SHA": base,
        }  # fmt: skip
        jobs = YAML(typ="safe").load(PIPELINE.read_text())
        assert await run_bash("\n".join(jobs["base"]["script"]), repository, pipeline) == (0, "")
        assert (repository / ".base/rights/permission.rule.yaml").exists()
        code, output = await run_bash("\n".join(jobs["review"]["script"]), repository, pipeline)
        assert code == 1, output
        assert fake.calls == ["POST /projects/42/merge_requests/7/notes"]
        assert fake.tokens == {"secret"}
        assert "is no role, party of the event" in fake.comments[1]
