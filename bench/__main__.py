"""`python -m bench`: every benchmark, one table each."""

from __future__ import annotations

from bench import doors, phones, road


def main() -> None:
    road.main([])
    doors.main([])
    phones.main([])


main()
