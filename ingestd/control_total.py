"""Control totals: a number of records that the sender announces, in a companion or in the file's last line."""

from __future__ import annotations

from ingestd.errors import Rejected


def check(name: str, records: int, said: int, where: str) -> None:
    """Raises Rejected with both numbers when the file has other records than `where` says; blank ones do not count."""
    if records != said:
        raise Rejected(
            "control_total_mismatch",
            f"{name} has {records:,} records, but {where} says {said:,}",
            suggestion="send the whole file again, or mend the number",
        )
