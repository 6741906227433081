"""``stet rules diff BASE HEAD``: what will change for whom."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from ops.command_line import ExitCode, print_error, print_json
from ops.command_settings import OperatorSettings, load_command_settings, run
from ops.database import operator_pool
from ops.rules.bundle import live_bundle
from ops.rules.folder import DEFAULT_FOLDER, require_rules
from ops.rules.history import span_of
from ops.rules.output import ReportFormat, counted, format_option
from services.rules.analysis.bundle import Bundle, UnreadableBundle, read_bundle
from services.rules.analysis.diff import Difference, diff_bundle, diff_stories, read_prices
from services.rules.analysis.diff_text import markdown_of, rows_of
from services.rules.rulebook.rule_folder import LARGEST_FILE, SUFFIXES, read_folder
from services.rules.scenario.folder_check import check_files
from shared.clients.rate_card import RateCardInvalid


def diff_command(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A folder of rules, or a revision of Git: main.")],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="The same for the new rules.")] = "HEAD",
    *,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="FILE", help="Play the events of a bundle (stet rules bundle).")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--last", metavar="SPAN", help="Play the events of the running system: 14d, 36h, 2w.")
    ] = None,
    folder: Annotated[
        Path, typer.Option("--folder", metavar="FOLDER", help="Where a revision of Git has the rules.")
    ] = DEFAULT_FOLDER,
    prices: Annotated[
        Path | None,
        typer.Option(
            "--prices",
            metavar="FILE",
            help="Your own rate card (docs/operations/cost.md) in place of the built-in prices.",
        ),
    ] = None,
    output: Annotated[
        ReportFormat, format_option(ReportFormat.TEXT, ReportFormat.MARKDOWN, ReportFormat.JSON)
    ] = ReportFormat.TEXT,
) -> None:
    """Say what will change for whom, if the rules HEAD take the place of BASE.

    Events are played through both in virtual time, with what people really answered: those of a bundle, or of the
    running system. Without either, the stories of both folders are played, with the answers that they give. People have
    pseudonyms. Exit code 0 whatever changes.
    """
    old, new = read_source(base, folder), read_source(head, folder)
    if bundle is not None and last is not None:
        raise typer.Exit(print_error("--bundle and --last are two sources: give one", code=ExitCode.CANNOT_RUN))
    try:
        if last is not None:
            _diff_live(old, new, last, prices, output)
        elif bundle is not None:
            read = _with_events(read_bundle(bundle), bundle)
            _print(diff_bundle(old, new, read, _words(read)), new, prices, output)
        else:
            _print(diff_stories(old, new), new, prices, output)
    except UnreadableBundle as error:
        raise typer.Exit(print_error(str(error), code=ExitCode.CANNOT_RUN)) from None


def _with_events(read: Bundle, path: Path) -> Bundle:
    """The bundle; one of stories, each with people and works of its own, has no events that could be played."""
    if read.events or read.head.since is not None:
        return read
    sentence = (
        f"--bundle: {path} has the decisions of stories, for stet rules replay, and no events. Leave --bundle out to "
        "play the stories of both; stet rules bundle without --stories writes the events of the running system"
    )
    raise typer.Exit(print_error(sentence, code=ExitCode.CANNOT_RUN))


def _diff_live(old: dict[str, str], new: dict[str, str], last: str, prices: Path | None, output: ReportFormat) -> None:
    span = span_of(last)
    settings = load_command_settings(OperatorSettings)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            until = settings.clock().now()
            read = await live_bundle(pool, settings, until - span, until)
        _print(diff_bundle(old, new, read, _words(read)), new, prices, output)
        return ExitCode.FINE

    run(command())


def _words(bundle: Bundle) -> str:
    return counted(len(bundle.events), "event")


def _print(difference: Difference, new: dict[str, str], prices: Path | None, output: ReportFormat) -> None:
    faults = check_files(new, tested=False).faults
    if output is ReportFormat.JSON:
        if faults:
            print_error(f"the new rules do not pass “stet rules check”: {faults[0]}")
        print_json(rows_of(difference))
        return
    try:
        known = read_prices(prices)
    except RateCardInvalid as error:
        raise typer.Exit(print_error(f"--prices: {error}", code=ExitCode.CANNOT_RUN)) from None
    sys.stdout.write(markdown_of(difference, known, faults))


def read_source(source: str, folder: Path) -> dict[str, str]:
    """The files of a folder of that name, else those that ``folder`` has in that revision of its repository.

    Exits with code 2 where it is neither.
    """
    path = Path(source)
    if path.is_dir():
        return read_folder(require_rules(path))
    top = Path(_git(source, "rev-parse", "--show-toplevel", cwd=_existing(folder)).decode().strip())
    within = folder.resolve().relative_to(top.resolve())
    packed = _git(source, "archive", "--format=tar", source, "--", within.as_posix(), cwd=top)
    files: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive.getmembers():
            name = PurePosixPath(member.name).relative_to(within.as_posix())
            hidden = any(part.startswith(".") for part in name.parts)
            if member.isfile() and name.suffix in SUFFIXES and not hidden and member.size <= LARGEST_FILE:
                content = archive.extractfile(member)
                files[name.as_posix()] = content.read().decode("utf-8", "replace") if content else ""
    return dict(sorted(files.items()))


def _existing(folder: Path) -> Path:
    return next((each for each in (folder, *folder.resolve().parents) if each.is_dir()), Path())


def _git(source: str, *arguments: str, cwd: Path) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, check=True)  # noqa: S603, S607
    except FileNotFoundError:
        raise typer.Exit(print_error("git is not installed: name a folder", code=ExitCode.CANNOT_RUN)) from None
    except subprocess.CalledProcessError as error:
        sentence = next(iter(error.stderr.decode("utf-8", "replace").strip().splitlines()), "")
        raise typer.Exit(print_error(_fault_of(source, sentence), code=ExitCode.CANNOT_RUN)) from None
    return done.stdout


def _fault_of(source: str, error: str) -> str:
    """The sentence about a source, by what Git said."""
    if "not a git repository" in error:
        return f"{source}: there is no such folder, and it is no revision, since this is no repository of Git"
    if "did not match any files" in error:
        return f"{source}: this revision of Git has no such folder of rules; name it by --folder"
    return f"{source}: neither a folder nor a revision of Git: {error}"
