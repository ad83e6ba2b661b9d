"""The house has floors, and imports only descend: whoever reads a module needs to know nothing of what is above it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ingestd"

FLOORS = (
    ("errors", "model"),
    ("settings", "schemas", "journal", "receipts", "control_total", "digest", "metrics", "roster", "node", "places"),
    ("storage",),
    ("spool",),
    ("store",),
    ("access", "accounts", "throttle", "host_keys", "certificates"),
    ("organisation", "receive", "ingest"),
    ("leads",),
    ("dispatch", "handback", "webhooks"),
    ("web",),
    (
        "house",
        "whereabouts",
        "preparing",
        "pulse",
        "presence",
        "overview",
        "garbage",
        "pipes",
        "feeds",
        "worker",
        "receiver",
        "webserver",
        "roles",
        "notify",
        "activation",
        "reload",
        "children",
        "daemon",
        "foreground",
        "manifest",
        "backup",
        "restore",
        "verifying",
        "checks",
        "samples",
        "senders",
        "week",
        "demo",
        "reference",
        "openapi",
        "printing",
        "commands",
        "cli",
        "__main__",
    ),
)
"""The rooms of each floor, from the ground up: a room is a module of `ingestd`, or a package with all that is in it."""

OPEN_FLOORS = (1, 10)
"""Floors whose rooms may import each other, without a circle; on the others, neighbours do not know each other.

On floor 1 schemas are settings, on floor 10 is all the wiring."""

FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def room(module: str) -> str:
    return module.split(".")[1]


KNOWN = {dotted(path) for path in modules()}


def imported(path: Path) -> set[str]:
    """Every module of ingestd that a file imports, also inside functions and under TYPE_CHECKING."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports by dots; write the whole name"
            # `from ingestd import settings` names a module, `from ingestd.settings import Source` a thing in one.
            whole = {f"{node.module}.{alias.name}": str(node.module) for alias in node.names}
            found |= {name if name in KNOWN else module for name, module in whole.items()}
    return {name for name in found if name.startswith("ingestd.")}


def rooms_imported(path: Path) -> set[str]:
    return {room(name) for name in imported(path)} - {room(dotted(path))}


def test_every_room_stands_on_one_floor() -> None:
    rooms = [name for floor in FLOORS for name in floor]
    assert sorted(rooms) == sorted({room(dotted(path)) for path in modules()})


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_imports_only_descend(path: Path) -> None:
    here = FLOOR_OF[room(dotted(path))]
    above = {name for name in rooms_imported(path) if FLOOR_OF[name] > here}
    assert not above, f"{dotted(path)} imports from above: {sorted(above)}"


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_neighbours_do_not_know_each_other(path: Path) -> None:
    here = FLOOR_OF[room(dotted(path))]
    beside = {name for name in rooms_imported(path) if FLOOR_OF[name] == here}
    assert here in OPEN_FLOORS or not beside, f"{dotted(path)} imports from beside: {sorted(beside)}"


def test_nobody_imports_in_a_circle() -> None:
    graph = {dotted(path): {name for name in imported(path) if name != dotted(path)} for path in modules()}
    while leaves := {name for name, wanted in graph.items() if not wanted & graph.keys()}:
        graph = {name: wanted for name, wanted in graph.items() if name not in leaves}
    assert not graph, f"in a circle, or above one: {sorted(graph)}"


def test_only_anonymising_rewrites_what_is_kept() -> None:
    calling = {
        path.relative_to(PACKAGE).as_posix()
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "rewrite"
    }
    assert calling == {"spool.py", "leads/erasure.py"}
