"""Every query that the code names exists in its ``.sql`` file: a wrong name would only be found when it is executed."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from shared.runtime.clock import FAR_AHEAD

ROOT = Path(__file__).parents[1]
QUERY_NAME = re.compile(r"^-- name: (\w+)", re.MULTILINE)

Key = tuple[str, str]
"""A module, and the name that it gives to the queries of a file."""


def modules() -> Iterator[tuple[Path, str, ast.Module]]:
    for folder in ("services", "shared", "ops", "dev", "bench"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield path, dotted, ast.parse(path.read_text("utf-8"))


def declared() -> dict[Key, set[str]]:
    """The names in the file that each ``X = load_queries(__file__, "….sql")`` loads."""
    found: dict[Key, set[str]] = {}
    for path, module, tree in modules():
        for node in ast.walk(tree):
            match node:
                case ast.Assign(
                    targets=[ast.Name(id=name)],
                    value=ast.Call(func=ast.Name(id="load_queries"), args=[_, ast.Constant(value=str(file))]),
                ):
                    found[module, name] = set(QUERY_NAME.findall((path.parent / file).read_text("utf-8")))
                case _:
                    pass
    return found


def imported(tree: ast.Module) -> dict[str, Key]:
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module)
    return {alias.asname or alias.name: (node.module or "", alias.name) for node in imports for alias in node.names}


def test_every_query_takes_an_instant_of_another_clock_for_one_as_the_code_does() -> None:
    """The hour of ``FAR_AHEAD`` stands in queries as a literal; the one of two days says why."""
    hour, found = f"{FAR_AHEAD // timedelta(hours=1)} hour", Counter[str]()
    for folder in ("services", "shared"):
        for path in sorted((ROOT / folder).rglob("*.sql")):
            if "migrations" not in path.parts:
                found.update(re.findall(r"interval '(.*?)'", path.read_text("utf-8")))

    assert found.pop("2 days") == 1
    assert set(found) == {hour}
    assert found[hour] > 8


def test_every_query_named_in_the_code_exists() -> None:
    known = declared()
    missing = []
    for path, module, tree in modules():
        names = imported(tree) | {name: (owner, name) for owner, name in known if owner == module}
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id=name), attr=query) if (key := names.get(name)) in known:
                    if query not in known[key]:
                        missing.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name}.{query}")
                case _:
                    pass

    assert len(known) > 5
    assert not missing, missing
