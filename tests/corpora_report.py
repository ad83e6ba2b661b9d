"""Pollock, file by file: `python -m tests.corpora_report` prints the counts and the ten files that lose most."""

from __future__ import annotations

import sys
from collections import Counter

from tests.corpora_support import ARCHIVE, MISSING, Verdict, judged, unpacked


def verdicts() -> list[Verdict]:
    """Every file of the benchmark, read and judged."""
    return [judged(path.name) for path in sorted((unpacked() / "pollock" / "csv").glob("*.csv"))]


def report(found: list[Verdict], worst: int = 10) -> str:
    """The counts, the reasons of refusal, and the files that lose most."""
    refused = Counter(verdict.refused for verdict in found if verdict.refused)
    read = [verdict for verdict in found if not verdict.refused]
    lines = [
        f"files {len(found)}",
        f"exact {sum(verdict.exact for verdict in read)}",
        f"one record rejected, all others exact {sum(verdict.lost == 1 and not verdict.changed for verdict in read)}",
        f"more lost {sum(verdict.lost > 1 for verdict in read)}",
        f"records that the truth does not have {sum(verdict.extra for verdict in read)}",
        f"refused {sum(refused.values())}: " + ", ".join(f"{code} {count}" for code, count in refused.most_common()),
        f"records with changed cells {sum(verdict.changed for verdict in read)}",
        "",
        f"{'file':42} {'truth':>6} {'good':>6} {'reject':>6} {'lost':>6} {'chgd':>6} {'extra':>6}",
    ]
    lines += [
        f"{v.name:42} {v.truth:6} {v.good:6} {v.rejected:6} {v.lost:6} {v.changed:6} {v.extra:6}"
        for v in sorted(read, key=lambda v: (-v.changed, -v.lost, -v.extra, -v.rejected, v.name))[:worst]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(report(verdicts()) + "\n" if ARCHIVE.exists() else MISSING + "\n")
