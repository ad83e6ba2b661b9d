"""The pool log: the fate of every record, in file order, safe to open and exact where it is sent again."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.errors import Damaged, Unavailable
from ingestd.ingest import poollog, problems, reading, sealing
from ingestd.ingest.poollog import Origin, PoolLog
from ingestd.model import Counts, Outcome, Stage
from ingestd.storage import Folder

DATA = 'Phone,Name\r\n1,Anna\r\n\r\n2,Søren\r\n3,"Bo\r\nBo"\r\n4,x,y\r\n'.encode()


def origin_of(data: bytes = DATA) -> Origin:
    return Origin.of(reading.read(data, name="x.csv"))


def rows_of(origin: Origin, **ended: str) -> pl.DataFrame:
    """The outcomes given by row; the others are inserted under their own number."""
    fates = {int(name.removeprefix("row")): outcome for name, outcome in ended.items()}
    outcomes = [fates.get(row, str(Outcome.INSERTED)) for row in origin.records["row"]]
    nothing = pl.lit(None, dtype=pl.String)
    return origin.records.select("row", "line_start", "line_end").with_columns(
        pl.Series("outcome", outcomes),
        pl.col("row").cast(pl.Int64).alias("lead_id"),
        *(nothing.alias(name) for name in ("owner", "owner_kind", "ownership_code", "phone_as_read", "phone")),
    )


def found(*told: tuple[int, str]) -> pl.DataFrame:
    rows = pl.DataFrame(told, schema={"row": pl.UInt32, "text": pl.String}, orient="row")
    return problems.found(rows, stage=Stage.RULE, code="bad", message=pl.col("text"), value=pl.col("text"), column="C")


def written(
    folder: Path, origin: Origin, rows: pl.DataFrame, told: pl.DataFrame | None = None, **header: Any
) -> PoolLog:
    return poollog.write(
        Folder(folder),
        "7/1",
        header={"delivery": 7, **header},
        origin=origin,
        rows=rows,
        found=problems.empty() if told is None else told,
    )


def parsed(pieces: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(pieces).decode(), newline=""), strict=True))


def test_every_record_is_in_the_full_log_in_file_order(tmp_path: Path) -> None:
    origin = origin_of()
    log = written(tmp_path, origin, rows_of(origin, row2="discarded", row5="rejected"), found((5, "two"), (5, "one")))
    rows = parsed(log.full())
    assert tuple(rows[0]) == poollog.ROW_COLUMNS
    assert [(row["row"], row["line_start"], row["line_end"], row["outcome"]) for row in rows] == [
        ("1", "2", "2", "inserted"),
        ("2", "3", "3", "discarded"),
        ("3", "4", "4", "inserted"),
        ("4", "5", "6", "inserted"),
        ("5", "7", "7", "rejected"),
    ]
    assert [row["errors"] for row in rows] == ["", "", "", "", "bad: two; bad: one"]


def test_every_problem_is_a_line_of_the_errors(tmp_path: Path) -> None:
    origin = origin_of()
    log = written(tmp_path, origin, rows_of(origin, row5="rejected"), found((4, "warned"), (5, "one"), (5, "two")))
    rows = parsed(log.errors())
    assert tuple(rows[0]) == poollog.ERROR_COLUMNS
    assert [(row["row"], row["line_start"], row["value"]) for row in rows] == [
        ("4", "5", "warned"),
        ("5", "7", "one"),
        ("5", "7", "two"),
    ]


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", b"\xef\xbb\xbf"),
        ("utf-16-le", b"\xff\xfe"),
        ("utf-16-be", b"\xfe\xff"),
        ("cp1252", b""),
    ],
)
def test_rejected_records_come_back_as_the_bytes_that_came(tmp_path: Path, encoding: str, mark: bytes) -> None:
    lines = [text.encode(encoding) for text in ("Phone;Name\r\n", "1;Anna\r\n", '2;"Sø\r\nren"\r\n', "3;Käthe")]
    origin = origin_of(mark + b"".join(lines))
    log = written(tmp_path, origin, rows_of(origin, row2="rejected", row3="rejected"))
    assert b"".join(log.rejected()) == mark + lines[0] + lines[2] + lines[3]


def test_a_preamble_is_not_sent_back(tmp_path: Path) -> None:
    origin = origin_of(b"November list\n\nPhone,Name,City\n1,Anna,Odense\n2,Bo,Aarhus\n")
    log = written(tmp_path, origin, rows_of(origin, row2="rejected"))
    assert b"".join(log.rejected()) == b"Phone,Name,City\n2,Bo,Aarhus\n"


def test_without_a_reject_there_is_nothing_to_send_again(tmp_path: Path) -> None:
    origin = origin_of()
    log = written(tmp_path, origin, rows_of(origin, row5="duplicate"))
    assert b"".join(log.rejected()) == b""


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("=HYPERLINK(x)", "'=HYPERLINK(x)"),
        ("+1+1", "'+1+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("+4526000001", "+4526000001"),
        ("+45 26 00 00 01", "+45 26 00 00 01"),
        ("-5", "-5"),
        ("a=b", "a=b"),
        ("", ""),
        ('x"y,z\r\n', 'x"y,z\r\n'),
        ("+4526000001\n=1", "'+4526000001\n=1"),
    ],
)
def test_what_a_spreadsheet_would_run_is_defused(tmp_path: Path, cell: str, shown: str) -> None:
    origin = origin_of()
    rows = rows_of(origin, row5="rejected").with_columns(
        pl.when(pl.col("row") == 5).then(pl.lit(cell)).alias("phone_as_read"),
        pl.when(pl.col("row") == 5).then(pl.lit(cell)).alias("ownership_code"),
    )
    log = written(tmp_path, origin, rows, found((5, cell)))
    row, problem = parsed(log.full())[4], parsed(log.errors())[0]
    assert (row["phone_as_read"], row["ownership_code"]) == (shown, shown)
    assert (problem["value"], problem["message"]) == (shown, shown)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_one_cell_of_the_operators_csv(text: str) -> None:
    frame = pl.DataFrame({"a": [text], "b": ["end"]})
    (row,) = parsed(poollog.csv_pieces(frame))
    assert row["a"] in (text, f"'{text}")
    assert row["b"] == "end"
    assert not row["a"].startswith(("=", "@", "\t", "\r"))


def test_a_long_log_is_rendered_in_pieces(tmp_path: Path) -> None:
    count = poollog.FIRST + poollog.CHUNK + 1
    origin = origin_of(b"Phone,Name\n" + b"1,Anna\n" * count)
    pieces = list(written(tmp_path, origin, rows_of(origin)).full())
    assert len(pieces) == 4  # the header and three chunks
    assert [row["row"] for row in parsed(pieces)] == [str(number) for number in range(1, count + 1)]


def test_the_header_groups_the_problems_the_most_frequent_first(tmp_path: Path) -> None:
    origin = origin_of()
    told = pl.concat([found((1, "first"), (3, "third")), found((2, "x")).with_columns(pl.lit("rare").alias("code"))])
    summary = written(tmp_path, origin, rows_of(origin, row5="rejected"), told).summary
    assert summary["delivery"] == 7
    assert [(each["code"], each["count"], each["first_row"], each["message"]) for each in summary["errors"]] == [
        ("bad", 2, 1, "first"),
        ("rare", 1, 2, "x"),
    ]


def test_the_log_of_a_refusal_has_no_records(tmp_path: Path) -> None:
    log = poollog.write_refusal(Folder(tmp_path), "7/1", header={"delivery": 7, "refused": {"code": "x"}})
    assert (parsed(log.full()), parsed(log.errors()), b"".join(log.rejected())) == ([], [], b"")
    assert b"".join(log.full()) == ",".join(poollog.ROW_COLUMNS).encode() + b"\r\n"
    assert log.summary["refused"] == {"code": "x"}


def test_a_log_is_never_overwritten(tmp_path: Path) -> None:
    origin = origin_of()
    first = written(tmp_path, origin, rows_of(origin))
    with pytest.raises(Unavailable):
        written(tmp_path, origin, rows_of(origin, row1="rejected"))
    with pytest.raises(Unavailable):
        poollog.write_refusal(first.storage, first.key, header={})
    assert parsed(first.full())[0]["outcome"] == "inserted"


def former(log: PoolLog) -> PoolLog:
    """The same as it was written before logs were sealed."""
    for path in log.storage.path(log.key).iterdir():
        if path.name == poollog.LOG_HEADER:
            header = json.loads(path.read_bytes())
            del header["log_format"]
            path.write_text(json.dumps(header))
        else:
            path.write_bytes(sealing.opened(path.read_bytes()))
    return PoolLog(storage=log.storage, key=log.key)


def test_a_log_that_lost_rows_or_problems_is_not_shown(tmp_path: Path) -> None:
    """A stream that was cut between two batches reads without an error."""
    origin = origin_of()
    log = former(written(tmp_path, origin, rows_of(origin, row1="rejected"), found((1, "x"))))
    log.rows().head(2).write_ipc_stream(tmp_path / log.key / poollog.ROWS)
    with pytest.raises(Damaged, match="2 of 5 rows are left"):
        next(log.full())
    log.problems().clear().write_ipc_stream(tmp_path / log.key / poollog.PROBLEMS)
    with pytest.raises(Damaged, match="0 of 1 problems are left"):
        next(log.errors())


@pytest.mark.parametrize("sealed", [True, False], ids=["now", "formerly"])
@pytest.mark.parametrize("data", [DATA, b"name,city\n" + b"Lund,Odense\n" * 3 * poollog.FIRST], ids=["short", "long"])
def test_a_file_that_is_cut_or_spoilt_is_told_as_a_damaged_log(data: bytes, sealed: bool, tmp_path: Path) -> None:
    """Whatever is left of it: all rows are shown as they were written, or none."""
    origin = origin_of(data)
    log = written(tmp_path, origin, rows_of(origin))
    log = log if sealed else former(log)
    place = tmp_path / log.key / poollog.ROWS
    whole, told = place.read_bytes(), log.rows()
    for harmed in (whole[:-40], whole[: len(whole) // 2], b"ARROW1 and nothing", b""):
        place.write_bytes(harmed)
        with pytest.raises(Damaged, match=r"the pool log 7/1 is damaged"):
            next(log.full())
    for size in range(0, len(whole), len(whole) // 97):
        place.write_bytes(whole[:size])
        with contextlib.suppress(Damaged):
            assert log.rows().equals(told)


@given(st.sampled_from([poollog.ROWS, poollog.PROBLEMS, poollog.REJECTED]), st.data())
def test_no_bit_of_a_log_turns_over_unnoticed(name: str, draw: st.DataObject) -> None:
    """polars shows other texts for some, and ends the process for others; a CSV has no checksum at all."""
    origin = origin_of()
    with TemporaryDirectory() as folder:
        log = written(Path(folder), origin, rows_of(origin, row1="rejected"), found((1, "x")))
        log.check()
        place = Path(folder) / log.key / name
        content = bytearray(place.read_bytes())
        content[draw.draw(st.integers(0, len(content) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
        place.write_bytes(content)
        with pytest.raises(Damaged, match=f"the pool log 7/1 is damaged: {name}"):
            log.check()


def test_rejected_lines_that_are_missing_are_not_told_as_none(tmp_path: Path) -> None:
    origin = origin_of()
    log = written(tmp_path, origin, rows_of(origin, row1="rejected"), found((1, "x")), counts={"rejected": 1})
    assert b"".join(log.rejected()) == b"Phone,Name\r\n1,Anna\r\n"
    (tmp_path / log.key / poollog.REJECTED).unlink()
    with pytest.raises(Damaged, match=r"rejected\.bin: it is missing"):
        next(log.rejected())


def test_a_header_that_is_spoilt_is_told_as_a_damaged_log(tmp_path: Path) -> None:
    origin = origin_of()
    log = written(tmp_path, origin, rows_of(origin))
    (tmp_path / log.key / poollog.LOG_HEADER).write_bytes(b'{"rows": ')
    with pytest.raises(Damaged, match=r"header\.json"):
        log.rows()


@pytest.mark.parametrize("way", [pl.DataFrame.write_ipc, pl.DataFrame.write_ipc_stream])
def test_streams_and_files_are_read_however_many_rows_they_have(way: Any, tmp_path: Path) -> None:
    """Former versions wrote all logs in one way, and then all in the other one, and sealed none."""
    origin = origin_of()
    log = former(written(tmp_path, origin, rows_of(origin, row5="rejected"), found((5, "x"))))
    now = b"".join(log.full()), b"".join(log.errors()), b"".join(log.rejected())
    for name, table in ((poollog.ROWS, log.rows()), (poollog.PROBLEMS, log.problems())):
        way(table, tmp_path / log.key / name, compression="zstd")
    assert (b"".join(log.full()), b"".join(log.errors()), b"".join(log.rejected())) == now


def test_outcomes_put_every_record_in_its_place() -> None:
    origin = origin_of()
    kinds = {"row": pl.UInt32, "outcome": pl.String, "lead_id": pl.Int64}
    ended = pl.DataFrame([(4, "inserted", 9), (1, "duplicate", 5)], schema=kinds, orient="row")
    rows = poollog.outcomes(origin, ended, pl.Series("row", [5, 3], dtype=pl.UInt32))
    assert rows.select("row", "outcome", "lead_id").rows() == [
        (1, "duplicate", 5),
        (2, "discarded", None),
        (3, "rejected", None),
        (4, "inserted", 9),
        (5, "rejected", None),
    ]
    assert poollog.count(rows) == Counts(records=5, inserted=1, duplicate=1, rejected=2, discarded=1)


@pytest.mark.parametrize(("ended", "rejected"), [([1, 3, 4], []), ([1, 3, 4, 5], [5]), ([1, 1, 3, 4, 5], [])])
def test_a_record_without_an_end_or_with_two_is_a_bug(ended: list[int], rejected: list[int]) -> None:
    frame = pl.DataFrame({"row": ended}, schema={"row": pl.UInt32}).with_columns(
        pl.lit("inserted").alias("outcome"), pl.lit(1, dtype=pl.Int64).alias("lead_id")
    )
    with pytest.raises(AssertionError):
        poollog.outcomes(origin_of(), frame, pl.Series("row", rejected, dtype=pl.UInt32))


def test_a_warning_rejects_nothing() -> None:
    told = pl.concat(
        [found((3, "x"), (1, "y"), (3, "z")), found((2, "w")).with_columns(pl.lit("warning").alias("severity"))]
    )
    assert poollog.rejected_rows(told).to_list() == [1, 3]
