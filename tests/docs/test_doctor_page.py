"""The page of connections says of each secret, neighbour and file whether the doctor tries it."""

import re
from pathlib import Path

from ops.settings import all_settings
from shared.runtime.setting_names import SERVICE_SETTINGS

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "connections.md"
_NEIGHBOUR = re.compile(r"_(URL|ENDPOINT|STORE|SCANNER|HOSTS|BOOTSTRAP|DSN|BUNDLE|LINES?|ACCOUNTS?|LINK)$")
_NOT_CONNECTED_TO = {"STET_PLAIN_HTTP_HOSTS"}


def test_each_secret_neighbour_and_file_is_tried_or_said_not_to_be() -> None:
    named = set(re.findall(r"STET_\w+", PAGE.read_text().partition("## What `stet doctor` tries")[2]))
    prefixes = tuple(re.findall(r"(STET_\w+_)…", PAGE.read_text()))
    needed = {
        one.name
        for one in all_settings()
        if one.name in SERVICE_SETTINGS and (one.is_secret or one.type == "path" or _NEIGHBOUR.search(one.name))
    }
    lacking = {name for name in needed - named - _NOT_CONNECTED_TO if not name.startswith(prefixes)}
    assert lacking == set()
