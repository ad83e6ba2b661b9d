"""`python -m bench`: every benchmark, one table each."""

from __future__ import annotations

from bench import phones, road


def main() -> None:
    road.main([])
    phones.main([])


main()
