"""Numbers to reach, and what was measured: one table for all benches (DESIGN.md, "Numbers to reach")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import machine


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of the table."""

    what: str
    goal: str
    measured: str
    ratio: str = ""
    """measured to the peer or to the goal"""
    met: bool | None = None
    """None: not measured in this run"""


def not_here(what: str, goal: str, where: str) -> Result:
    """A number that another command measures."""
    return Result(what=what, goal=goal, measured=where)


def show(results: Sequence[Result]) -> None:
    """Prints the table."""
    heads = ("what", "goal", "measured", "ratio", "")
    verdicts = {True: "met", False: "missed", None: "not in this run"}
    lines = [(each.what, each.goal, each.measured, each.ratio, verdicts[each.met]) for each in results]
    widths = [max(len(line[column]) for line in (heads, *lines)) for column in range(len(heads))]
    print(f"\nNumbers to reach; {machine.described()}\n")
    for line in (heads, *lines):
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
