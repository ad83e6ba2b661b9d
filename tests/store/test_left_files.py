"""Files that were left where they are: remembered by name and mark, on each database."""

from __future__ import annotations

from urllib.parse import quote_from_bytes

from sqlalchemy import Engine

from ingestd.store.left_files import LeftFiles


def test_what_was_taken_is_known_by_source(engine: Engine) -> None:
    left = LeftFiles(engine=engine)
    odd = quote_from_bytes(b"caf\xe9 %\n.csv")
    left.remember("acme", "C-1/x.csv", "1:2:3", 7)
    left.remember("acme", odd, "1:2:3", None)
    left.remember("bravo", "x.csv", "4:5:6", 8)
    assert left.known("acme") == {"C-1/x.csv": "1:2:3", odd: "1:2:3"}
    assert left.known("nobody") == {}


def test_the_last_mark_counts(engine: Engine) -> None:
    left = LeftFiles(engine=engine)
    for mark in ("1:2:3", "1:4:5"):
        left.remember("acme", "x.csv", mark, 7)
    assert left.known("acme") == {"x.csv": "1:4:5"}


def test_thousands_are_forgotten_at_once(engine: Engine) -> None:
    left = LeftFiles(engine=engine)
    for number in range(3):
        left.remember("acme", f"{number}.csv", "1:2:3", None)
    left.remember("bravo", "0.csv", "1:2:3", None)
    left.forget("acme", [f"{number}.csv" for number in range(1, 70_000)])
    assert (list(left.known("acme")), list(left.known("bravo"))) == (["0.csv"], ["0.csv"])
