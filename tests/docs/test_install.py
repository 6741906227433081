"""The page of the installation names every field of Meta's webhooks that something follows from, and no other."""

import re
from pathlib import Path

from dev.layout import ROOT
from services.ingest import webhook_parser


def test_the_page_names_the_fields_of_webhooks_that_are_acted_on() -> None:
    page = (ROOT / "docs" / "operations" / "install.md").read_text()
    step = page.partition("subscribe the app to the fields")[2].partition("as callback")[0]
    named = {*re.findall(r"`([a-z_]+)`", step)}
    dispatcher = "".join(path.read_text() for path in (ROOT / "services" / "dispatcher").glob("*.py"))
    about_account = {name for name in webhook_parser.ACCOUNT_FIELDS if f'"{name}"' in dispatcher}
    about_people = {*re.findall(r'case "(\w+)", ', Path(webhook_parser.__file__).read_text())}
    assert named == about_account | about_people
