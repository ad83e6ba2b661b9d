"""Reading: encodings, dialects, headers, and which record is rejected for what."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import re
import zipfile

import openpyxl
import polars as pl
import pytest

from ingestd.errors import Rejected
from ingestd.ingest.reading import Sheet, assembly, read
from ingestd.ingest.reading import text as reading_text
from ingestd.model import DialectHints

HEAD = "name,phone,city\n"


def sheet_of(text: str | bytes, **hints: object) -> Sheet:
    data = text.encode() if isinstance(text, str) else text
    return read(data, name="leads.csv", hints=DialectHints(**hints))  # type: ignore[arg-type]


def refusal(text: str | bytes, **hints: object) -> Rejected:
    with pytest.raises(Rejected) as caught:
        sheet_of(text, **hints)
    return caught.value


def faults(sheet: Sheet) -> list[tuple[int, str]]:
    return sheet.problems.filter(pl.col("severity") == "error").select("row", "code").rows()


def raw(sheet: Sheet, row: int) -> bytes:
    """The original bytes of a record."""
    record = sheet.records.row(row - 1, named=True)
    return sheet.original[record["offset"] : record["offset"] + record["length"]]


class TestEncodings:
    @pytest.mark.parametrize(
        ("encoding", "mark", "said", "fallback"),
        [
            ("utf-8", b"", "utf-8", False),
            ("utf-8", b"\xef\xbb\xbf", "utf-8-sig", False),
            ("utf-16-le", b"\xff\xfe", "utf-16-le", False),
            ("utf-16-be", b"\xfe\xff", "utf-16-be", False),
            ("utf-16-le", b"", "utf-16-le", False),
            ("utf-16-be", b"", "utf-16-be", False),
            ("cp1252", b"", "cp1252", True),
        ],
    )
    def test_each_is_recognised_and_offsets_are_the_originals(
        self, encoding: str, mark: bytes, said: str, fallback: bool
    ) -> None:
        rows = ["Jürgen,+49301,Köln", 'Zoë,+49302,"Genève\r\n€ 5"', "bad,row", "Ann,+49303,Bonn"]
        lines = [f"{row}\r\n".encode(encoding) for row in ["name,phone,city", *rows]]
        sheet = sheet_of(mark + b"".join(lines))
        assert (sheet.facts.encoding, sheet.facts.fallback) == (said, fallback)
        assert sheet.cells["city"].to_list() == ["Köln", "Genève\r\n€ 5", "Bonn"]
        assert [raw(sheet, row) for row in (1, 2, 3, 4)] == lines[1:]
        assert sheet.header_bytes == mark + lines[0]
        assert faults(sheet) == [(3, "too_few_fields")]
        assert sheet.records["line_start"].to_list() == [2, 3, 5, 6]

    def test_a_bad_byte_rejects_its_record_only(self) -> None:
        sheet = sheet_of(HEAD.encode() + "Zoë,1,Köln\n".encode() + b"Jos\xe9,2,Lyon\nAnn,3,\xc3\x89vry\n")
        assert sheet.facts.encoding == "utf-8"
        assert faults(sheet) == [(2, "bytes_not_text")]
        assert sheet.cells["name"].to_list() == ["Zoë", "Ann"]

    def test_a_pinned_encoding_is_kept(self) -> None:
        assert faults(sheet_of(HEAD.encode() + b"Jos\xe9,2,Lyon\n", encoding="utf-8")) == [(1, "bytes_not_text")]
        sheet = sheet_of(HEAD.encode() + b"Jos\xe9,2,\x80\n", encoding="latin-1")
        assert sheet.cells.row(0) == ("José", "2", "\x80")
        assert not sheet.facts.fallback

    def test_an_undefined_cp1252_byte_rejects_its_record(self) -> None:
        sheet = sheet_of(HEAD.encode() + b"Jos\xe9,1,Lyon\nA\x81,2,B\nZo\xeb,3,C\n")
        assert sheet.facts.encoding == "cp1252"
        assert faults(sheet) == [(2, "bytes_not_text")]

    @pytest.mark.parametrize("name", ["Jørgen", "Žarko", "Łukasz", "20 °C", "5 €", "“Ann”", "Анна", "😀", "東京"])
    @pytest.mark.parametrize("pinned", [None, "cp1252"])
    def test_utf8_among_cp1252_rejects_its_record(self, name: str, pinned: str | None) -> None:
        old = "".join(f"Søren,{at},Køge\n" for at in range(20)).encode("cp1252")
        sheet = sheet_of(HEAD.encode() + old + f"x,21,{name}\n".encode() + old, encoding=pinned)
        assert (sheet.facts.encoding, sheet.facts.fallback) == ("cp1252", pinned is None)
        assert faults(sheet) == [(21, "bytes_not_text")]
        assert raw(sheet, 21) == f"x,21,{name}\n".encode()

    @pytest.mark.parametrize("encoding", ["cp850", "cp437", "cp865", "mac_roman"])
    @pytest.mark.parametrize("names", [("Jörgen Lindström", "Müller", "Jäger"), ("Jürgen", "Köln", "Bärbel", "Groß")])
    def test_letters_of_older_machines_are_told(self, encoding: str, names: tuple[str, ...]) -> None:
        lines = [f"{name},{at},x\n" for at, name in enumerate(names * 10)]
        assert refusal((HEAD + "".join(lines)).encode(encoding)).code == "encoding_unknown"

    @pytest.mark.parametrize(("name", "encoding"), [("Jørgen Pæn, Skælskør", "cp850"), ("Jørgen", "mac_roman")])
    def test_danish_letters_of_older_machines_are_told(self, name: str, encoding: str) -> None:
        assert refusal((HEAD + f'"{name}",1,x\n' * 30).encode(encoding)).code == "encoding_unknown"

    def test_a_single_strange_letter_rejects_its_record(self) -> None:
        sheet = sheet_of((HEAD + "Ann,1,x\nJørgen,2,y\nBob,3,z\n").encode("cp850"))
        assert faults(sheet) == [(2, "bytes_not_text")]
        assert sheet.cells["name"].to_list() == ["Ann", "Bob"]

    def test_few_strange_letters_among_others_are_left_alone(self) -> None:
        names = ["Søren", "Ann“Bo”", "Cid"] + ["Sørensen"] * 30
        sheet = sheet_of((HEAD + "".join(f"{name},1,x\n" for name in names)).encode("cp1252"))
        assert sheet.cells["name"].to_list() == names

    @pytest.mark.parametrize(
        "text",
        [
            "»Spaß«",
            "sie sagt „Spaß“ …",
            "été…”",
            "CAFÉ\u2019S",
            "SÃO PAULO",
            "GROß\u00a05",
            "Žižkov",
            "l\u2019été",
            "Foo•Bar",
            "N°A",
        ],
    )
    def test_what_people_write_in_cp1252_is_read(self, text: str) -> None:
        old = "".join(f"Søren,{at},Køge\n" for at in range(20)).encode("cp1252")
        sheet = sheet_of(HEAD.encode() + old + f"x,21,{text}\n".encode("cp1252"))
        assert sheet.cells["city"][-1] == text
        assert faults(sheet) == []

    def test_a_file_of_two_encodings_throughout_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading_text, "MAX_BAD", 100)
        assert refusal(HEAD.encode() + b"\xf8" * 101 + "ø".encode() * 101, encoding="cp1252").code == "encoding_unknown"

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
    @pytest.mark.parametrize("pinned", ["cp1252", "utf-8", "utf-16-le", "cp850"])
    def test_a_mark_proves_more_than_what_was_agreed(self, encoding: str, pinned: str) -> None:
        sheet = sheet_of("Firma;Telefon;Ort\nMüller;1;Köln\n".encode(encoding), encoding=pinned)
        assert sheet.facts.encoding.startswith(encoding)
        assert sheet.header == ("Firma", "Telefon", "Ort")
        assert sheet.cells.rows() == [("Müller", "1", "Köln")]

    def test_half_a_character_at_the_end_rejects_the_last_record(self) -> None:
        data = (HEAD + "Ann,1,Bonn\nBob,2,Ulm").encode("utf-16")[:-1]
        sheet = sheet_of(data)
        assert faults(sheet) == [(2, "bytes_not_text")]
        assert raw(sheet, 2) == data[-len("Bob,2,Ulm".encode("utf-16-le")) + 1 :]

    def test_a_lone_surrogate_rejects_its_record(self) -> None:
        text = HEAD + "Ann,1,\ud800x\nBob,2,😀\n"
        sheet = sheet_of(b"\xff\xfe" + text.encode("utf-16-le", "surrogatepass"))
        assert faults(sheet) == [(1, "bytes_not_text")]
        assert sheet.cells.rows() == [("Bob", "2", "😀")]

    def test_a_file_of_bytes_that_are_no_text_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading_text, "MAX_BAD", 100)
        assert refusal(HEAD.encode() + b"\xff" * 101, encoding="utf-8").code == "encoding_unknown"
        assert faults(sheet_of(HEAD.encode() + b"\xff" * 100, encoding="utf-8")) == [
            (1, "bytes_not_text"),
            (1, "too_few_fields"),
        ]

    def test_nul_rejects_its_record(self) -> None:
        assert faults(sheet_of(HEAD + "A\0nn,1,x\nBob,2,y\n")) == [(1, "nul_byte")]

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            ((HEAD + "Ann,1,x\n").encode("utf-32"), "encoding_unknown"),
            ((HEAD + "Ann,1,x\n").encode("utf-32-le"), "encoding_unknown"),
            (("имя,телефон,город\n" + "Анна Иванова,+7495,Москва\n" * 9).encode("cp1251"), "encoding_unknown"),
            (bytes(range(32)) * 40 + b"a,b\n", "not_a_table"),
        ],
    )
    def test_others_are_refused(self, data: bytes, code: str) -> None:
        assert refusal(data).code == code

    def test_an_unknown_name_is_refused(self) -> None:
        assert refusal(HEAD + "a,b,c\n", encoding="klingon").code == "encoding_unknown"
        assert refusal(HEAD + "a,b,c\n", encoding="shift_jis").code == "encoding_unknown"


class TestDialects:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    @pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("quote", ['"', "'"])
    def test_each_is_detected(self, delimiter: str, newline: str, quote: str) -> None:
        rows = [
            ["name", "note", "city"],
            ["Ann", f"{quote}a{delimiter} b{newline}c{quote}", "Bonn"],
            ["Bob", "", "Ulm"],
        ]
        sheet = sheet_of(newline.join(delimiter.join(row) for row in rows) + newline)
        assert (sheet.facts.delimiter, sheet.facts.newline, sheet.facts.quote) == (delimiter, newline, quote)
        assert sheet.cells.rows() == [("Ann", f"a{delimiter} b{newline}c", "Bonn"), ("Bob", "", "Ulm")]
        assert sheet.records["line_end"].to_list() == [3, 4]

    def test_lf_and_crlf_may_be_mixed(self) -> None:
        sheet = sheet_of("a,b\r\n1,2\n3,4\r\n5,6")
        assert sheet.cells.rows() == [("1", "2"), ("3", "4"), ("5", "6")]

    def test_a_lone_cr_in_a_file_of_lf_rejects_the_record(self) -> None:
        assert faults(sheet_of("a,b\n1,2\r3\n4,5\n")) == [(1, "stray_line_end")]
        assert sheet_of('a,b\n1,"2\r3"\n').cells.rows() == [("1", "2\r3")]

    def test_a_space_after_the_delimiter(self) -> None:
        sheet = sheet_of('a, b, c\n1, "x, y", 3\n4,  5, \n')
        assert sheet.facts.skip_initial_space
        assert sheet.cells.rows() == [("1", "x, y", "3"), ("4", " 5", "")]

    def test_backslash_before_quotes(self) -> None:
        sheet = sheet_of('a,b\n1,"5\\" x, y"\n2,"8\\\'9\\""\n3,"x\\\\y"\n4,C:\\dir\n')
        assert sheet.facts.escape == "\\"
        assert sheet.cells.rows() == [("1", '5" x, y'), ("2", "8\\'9\""), ("4", "C:\\dir")]
        assert faults(sheet) == [(3, "ambiguous_escape")]

    def test_apostrophes_are_letters(self) -> None:
        sheet = sheet_of("a,b,c\n1,Men's Boots,'won't, ever'\n2,Kids',x\n3,'Kids' hats, red',''\n")
        assert sheet.facts.quote == "'"
        assert sheet.cells.rows() == [
            ("1", "Men's Boots", "won't, ever"),
            ("2", "Kids'", "x"),
            ("3", "Kids' hats, red", ""),
        ]

    @pytest.mark.parametrize("cell", ["'VIP'", "'t Hooft", "Jansens'", "'s-Hertogenbosch'", "it''s"])
    def test_an_apostrophe_that_quotes_nothing_is_kept(self, cell: str) -> None:
        sheet = sheet_of(f"phone,name\n20123456,Ann\n20123457,{cell}\n20123458,Bob\n")
        assert sheet.cells["name"].to_list() == ["Ann", cell, "Bob"]

    @pytest.mark.parametrize("columns", ["phone,name", "name,phone", "phone,name,city"])
    def test_two_apostrophes_never_swallow_what_stands_between(self, columns: str) -> None:
        names = ["'t Hooft", "Bo", "Eva", "Bakkerij Jansens'", "Ib"]
        rows = [{"phone": f"2012345{at}", "name": name, "city": "Ulm"} for at, name in enumerate(names)]
        lines = [",".join(row[column] for column in columns.split(",")) for row in rows]
        sheet = sheet_of("\n".join([columns, *lines, ""]))
        assert sheet.cells["name"].to_list() == names
        assert faults(sheet) == []

    def test_apostrophes_that_may_have_glued_records_lose_them_aloud(self) -> None:
        text = "phone,name\n1,'Lee, Ann'\n2,'t Hooft\n3,Bo\n4,Jansens'\n5,'Ray, Bob'\n"
        for hints in ({}, {"quote": "'"}):
            sheet = sheet_of(text, **hints)
            assert sheet.cells["name"].to_list() == ["Lee, Ann", "Ray, Bob"]
            assert faults(sheet) == [(2, "ambiguous_quotes")]
            assert raw(sheet, 2).count(b"\n") == 3

    @pytest.mark.parametrize(
        "text",
        [
            "'phone','name'\n'1','Ann'\n'2',''\n",
            "'phone','name'\n1,'Ann'\n2,\n",
            "phone,name\n1,'Ann'\n2,\n3,'Bob'\n4,'Cid'\n",
            "phone,name\n1,Ann\n2,'O''Brien'\n",
            "'phone','name'\n'1','x\ny, z'\n",
        ],
    )
    def test_apostrophes_quote_as_programs_quote(self, text: str) -> None:
        sheet = sheet_of(text)
        assert sheet.facts.quote == "'"
        assert sheet.header == ("phone", "name")
        assert not any("'" in cell.strip("O'Brien") for row in sheet.cells.rows() for cell in row)
        assert sheet.problems.is_empty()

    def test_a_doubtful_cell_is_lost_with_all_its_lines(self) -> None:
        """Else its inner lines would be read as records."""
        sheet = sheet_of("a,b\n1,'x \"\"\n2,y\nz'\n3,'w'\n", quote="'")
        assert faults(sheet) == [(1, "ambiguous_quotes")]
        assert sheet.cells.rows() == [("3", "w")]

    def test_pinned_hints_win(self) -> None:
        sheet = sheet_of('a|b;c\n1|"2;3\n', delimiter="|", quote="")
        assert sheet.cells.rows() == [("1", '"2;3')]
        assert sheet_of("a b c\n1 2 3\n", delimiter=" ").cells.rows() == [("1", "2", "3")]
        assert refusal("a,b\n1,2\n", delimiter="||").code == "delimiter_unknown"

    def test_one_column(self) -> None:
        sheet = sheet_of("phone\n+4930123\n\n+4930124\n")
        assert sheet.cells.rows() == [("+4930123",), ("+4930124",)]
        assert sheet.discarded.to_list() == [2]

    @pytest.mark.parametrize("text", ["first last phone\nAnn Lee 123\nBob Ray 456\n", "a:b\n1:2\n", "a^b^c\n1^2^3\n"])
    def test_other_separators_are_refused(self, text: str) -> None:
        assert refusal(text).code == "delimiter_unknown"


class TestHeaders:
    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("", "empty_file"),
            ("\n\r\n \n", "empty_file"),
            ("name,phone\n", "header_only"),
            ("name,phone\n\n,\n", "header_only"),
            ("1,2,3\n4,5,6\n", "no_header"),
            ("Ann,+49 30 1234567,x\nBob,+49 30 1234568,y\n", "no_header"),
            ("Ann,ann@example.com\nBob,bob@example.com\n", "no_header"),
            ("28/01/2018,00:00,x\n28/01/2018,00:00,x\n", "no_header"),
            ("name,phone, NAME \nAnn,1,2\n", "doubled_header"),
            ('na"me,phone\nAnn,1\n', "header_unreadable"),
            ("na\0me,phone\nAnn,1\n", "header_unreadable"),
            ("a,b,c\n" + "1,2\n" * 20, "header_mismatch"),
        ],
    )
    def test_what_is_refused(self, text: str, code: str) -> None:
        error = refusal(text)
        assert error.code == code
        assert error.message

    def test_doubled_names_say_where(self) -> None:
        message = refusal("phone,name,Phone\n1,2,3\n").message
        assert "column 1" in message
        assert "column 3" in message

    def test_a_preamble_is_skipped(self) -> None:
        sheet = sheet_of("Export of today,,\n,,\n\nname,phone,city\nAnn,1,Bonn\n")
        assert (sheet.facts.header_line, sheet.facts.preamble_lines) == (4, 3)
        assert sheet.header_bytes == b"name,phone,city\n"
        assert sheet.records.row(0)[:3] == (1, 5, 5)

    @pytest.mark.parametrize(
        ("title", "record", "good"),
        [
            ("Leads of this week\n", "Ann,1,Bonn\n", 1),
            ("Leads of this week\n", "Ann,1\n", 0),
            ("Leads of this week\n", "Ann,1,Bonn,x\n", 0),
            ("Leads\nof all this week\n", "Ann,1,Bonn\n", 1),
        ],
    )
    def test_a_title_above_a_single_record_is_no_header(self, title: str, record: str, good: int) -> None:
        sheet = sheet_of(title + HEAD + record)
        assert sheet.header == ("name", "phone", "city")
        assert (sheet.cells.height, len(faults(sheet))) == (good, 1 - good)

    def test_a_ragged_record_of_a_list_is_not_its_header(self) -> None:
        sheet = sheet_of("phone\n20123456,x\n")
        assert (sheet.header, faults(sheet)) == (("phone",), [(1, "too_many_fields")])
        assert sheet_of("phone,name\n1,Ann,x,y,z,w,v\n").header == ("phone", "name")

    def test_more_columns_than_any_lead_has(self) -> None:
        names = [f"name {at}" for at in range(2001)]
        rows = f"{','.join(names[1:])}\n{','.join(names[:-1])}\n{','.join('x' for _ in names[1:])}\n"
        sheet = sheet_of(rows)
        assert faults(sheet) == [(1, "header_repeated"), (2, "other_table")]
        assert refusal(f"{','.join(names)}\n{','.join('1' for _ in names)}\n").code == "too_many_columns"

    def test_empty_names_are_numbered(self) -> None:
        assert sheet_of("name,,column_2,\nAnn,1,2,\n").header == ("name", "column_2_", "column_2", "column_4")

    def test_years_are_names(self) -> None:
        assert sheet_of("state,2019,2020-2021\nNY,1,2\n").header == ("state", "2019", "2020-2021")

    def test_a_header_of_several_lines(self) -> None:
        sheet = sheet_of('"first\nname",b\n1,2\n')
        assert sheet.header == ("first\nname", "b")
        assert sheet.records.row(0)[:3] == (1, 3, 3)

    def test_names_that_are_patterns_to_polars(self) -> None:
        names = ("^x$", "^.*$", "*", "row", "x{}")
        head = ",".join(names) + "\n"
        sheet = sheet_of(f"{head}1,2,3,4,5\n,,,,\n{head}6,7\n{head[:-1]},z\n")
        assert sheet.header == tuple(sheet.cells.columns) == names
        assert sheet.cells.rows() == [("1", "2", "3", "4", "5")]
        assert sheet.discarded.to_list() == [2]
        assert faults(sheet) == [(3, "header_repeated"), (4, "too_few_fields"), (5, "too_many_fields")]
        assert sheet_of(b"^x$,phone\n1,20123456\n").cells.row(0) == ("1", "20123456")

    def test_a_repeated_header_is_no_record(self) -> None:
        sheet = sheet_of(HEAD + HEAD + "Ann,1,Bonn\nNAME,phone,city \nBob,2,Ulm\n")
        assert faults(sheet) == [(1, "header_repeated"), (3, "header_repeated")]
        assert sheet.cells["name"].to_list() == ["Ann", "Bob"]

    @pytest.mark.parametrize("head", [HEAD, "name,phone\n", "phone\n", '"name","phone"\n'])
    def test_files_that_were_joined_with_their_marks(self, head: str) -> None:
        record = ",".join("123456"[: head.count(",") + 1]) + "\n"
        sheet = sheet_of((head + record).encode("utf-8-sig") * 3)
        assert faults(sheet) == [(2, "header_repeated"), (4, "header_repeated")]
        assert "repeated" in sheet.problems["message"][0]
        assert sheet.cells.height == 3

    @pytest.mark.parametrize("other", ["phone,name,city\n", "name,phone\n", "name,phone,town\n"])
    def test_records_of_a_second_table_are_rejected(self, other: str) -> None:
        sheet = sheet_of(HEAD + "Ann,1,Bonn\n" + other + "2,Bob,Ulm\n\n" + HEAD + "Cid,3,Trier\n")
        assert sheet.cells["name"].to_list() == ["Ann", "Cid"]
        assert (3, "other_table") in faults(sheet)


class TestRejectedRecords:
    @pytest.mark.parametrize(
        ("line", "code"),
        [
            ("Bob,2", "too_few_fields"),
            ("Bob,2,x,y", "too_many_fields"),
            ('Bob,"2"x,y', "stray_quote"),
            ('Bob,2"x,y', "stray_quote"),
            ('Bob,2"3",4"', "stray_quote"),
            ('Bob"a, b",4', "stray_quote"),
            ('"Bob,2,y', "unclosed_quote"),
            ('Bob,2,"', "unclosed_quote"),
        ],
    )
    @pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
    def test_one_line_is_lost_and_no_more(self, line: str, code: str, newline: str) -> None:
        text = newline.join([HEAD.strip(), "Ann,1,Bonn", line, 'Cid,3,"Köln, Süd"', "Dan,4,Ulm", ""])
        sheet = sheet_of(text)
        (row, found) = faults(sheet)[0]
        assert len(faults(sheet)) == 1
        assert (row, sheet.cells["name"].to_list()) == (2, ["Ann", "Cid", "Dan"])
        assert found == code or {found, code} == {"stray_quote", "unclosed_quote"}
        assert raw(sheet, 2).decode() == line + newline
        problem = sheet.problems.row(0, named=True)
        assert problem["message"].startswith("Line 3: ")
        assert problem["value"] == line
        assert problem["suggestion"]

    def test_bare_quotes_in_pairs_are_letters(self) -> None:
        sheet = sheet_of("a,b\n" + "1,37°36'37.8\"N 121°2'17.9\"W\n")
        assert sheet.cells.rows() == [("1", "37°36'37.8\"N 121°2'17.9\"W")]

    def test_rows_between_two_stray_quotes_are_kept(self) -> None:
        middle = [f"n{i},{i},x,y" for i in range(20)]
        sheet = sheet_of("\n".join(["a,b,c,d", 'p,"1,x,y', *middle, 'q,1",x,y', "r,1,x,y", ""]))
        assert faults(sheet) == [(1, "ambiguous_quotes"), (22, "stray_quote")]
        assert sheet.cells["a"].to_list() == [row.split(",")[0] for row in middle] + ["r"]

    def test_a_cell_that_may_hold_a_record_is_not_believed(self) -> None:
        sheet = sheet_of('a,b,c\n1,"x\n2,y,3\nz",4\n5,6,7\n')
        assert faults(sheet) == [(1, "ambiguous_quotes")]
        assert sheet.records["line_end"].to_list() == [4, 5]
        assert sheet.cells.rows() == [("5", "6", "7")]

    def test_caps_of_a_record(self) -> None:
        text = 'a,b\n1,"x\n\n\ny"\n2,3\n' + "4," + "z" * 100 + "\n"
        assert sheet_of(text).cells.height == 3
        found = faults(sheet_of(text, max_record_lines=3))
        assert found[0] == (1, "unclosed_quote")
        assert faults(sheet_of(text, max_record_bytes=50)) == [(3, "record_too_long")]

    def test_blank_records_are_discarded(self) -> None:
        sheet = sheet_of(HEAD + "\nAnn,1,x\n  \n,,\n")
        assert sheet.discarded.to_list() == [1, 3, 4]
        assert sheet.problems.select("row", "code", "severity").rows() == [
            (row, "blank_record", "warning") for row in (1, 3, 4)
        ]

    @pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
    def test_many_blank_records_are_counted_but_told_only_at_first(self, newline: str) -> None:
        blank = newline * 70_000
        sheet = sheet_of(f"a,b{newline}{blank}1,2{newline}{blank}3,4{newline}{newline}5")
        assert (sheet.records.height, sheet.discarded.len()) == (140_004, 140_001)
        assert sheet.rows.to_list() == [70_001, 140_002]
        told = sheet.problems.filter(pl.col("code") == "blank_record")
        assert told["row"].to_list() == list(range(1, 101))
        assert faults(sheet) == [(140_004, "too_few_fields")]

    def test_empty_lines_inside_a_quoted_field_are_its_text(self) -> None:
        sheet = sheet_of('a,b\n\n1,"x\n\n\ny"\n\n\n"z\n\n",2\n"\n\n3,4\n')
        assert sheet.cells.rows() == [("1", "x\n\n\ny"), ("z\n\n", "2"), ("3", "4")]
        assert sheet.discarded.to_list() == [1, 3, 4, 7]
        assert faults(sheet) == [(6, "unclosed_quote")]

    def test_many_rejected_records_keep_their_reasons(self) -> None:
        sheet = sheet_of(HEAD + "".join(f"Ann,{i},x\nBob{i}\n" for i in range(70_000)))
        assert sheet.cells.height == 70_000
        assert sheet.problems.row(-1)[:7] == (
            140_000,
            "structure",
            "too_few_fields",
            "error",
            "",
            "",
            "Bob69999",
        )
        assert sheet.problems["message"][-1] == "Line 140001: The record has 1 field, but the header has 3."

    @pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
    def test_too_many_lines_are_refused_before_they_are_read(self, newline: str) -> None:
        text = newline.join(["a,b", *["1,2"] * 5])
        assert sheet_of(text, max_records=5).cells.height == 5
        error = refusal(text + newline * 2, max_records=5)
        assert (error.code, error.message) == (
            "too_many_records",
            "The file has 7 lines; at most 5 records are read.",
        )
        assert error.suggestion

    def test_too_many_cells_are_refused(self) -> None:
        assert refusal("a,b\n" + "1,2\n" * 5, max_cells=9).code == "too_many_cells"
        assert sheet_of("a,b\n" + "1,2\n" * 5, max_cells=10).cells.height == 5

    def test_a_record_keeps_all_its_errors(self) -> None:
        assert [code for _, code in faults(sheet_of(HEAD + "A\0nn,1\n"))] == ["nul_byte", "too_few_fields"]


class TestDisagreement:
    def test_what_the_fast_reader_loses_the_exact_one_finds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Should polars ever find other records than the scan, every record is read exactly instead."""
        fast = pl.read_csv
        monkeypatch.setattr(assembly.pl, "read_csv", lambda *args, **kwargs: fast(*args, **kwargs).head(1))
        assert sheet_of(HEAD + 'Ann,1,Bonn\nBob,2,"Ulm, Süd"\nCid,3\n').cells["city"].to_list() == ["Bonn", "Ulm, Süd"]


class TestContainers:
    TABLE = (HEAD + "Ann,1,Bonn\n").encode()

    def zipped(self, **members: bytes) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return stream.getvalue()

    def test_gzip_and_zip_are_opened(self) -> None:
        sheet = sheet_of(gzip.compress(self.TABLE[:20]) + gzip.compress(self.TABLE[20:]))
        assert (sheet.facts.container, sheet.original) == ("gzip", self.TABLE)
        sheet = sheet_of(self.zipped(**{"a/": b"", "a/t.csv": self.TABLE, "__MACOSX/._t.csv": b"x", ".DS_Store": b"y"}))
        assert (sheet.facts.container, sheet.facts.member) == ("zip", "a/t.csv")

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (gzip.compress(b"x" * 50_000_000, mtime=0), "too_large_unpacked"),
            (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "gzip_truncated"),
            (gzip.compress(b"a,b\n1,2\n", mtime=0) + b"tail", "gzip_damaged"),
            (gzip.compress(gzip.compress(b"a,b\n1,2\n", mtime=0), mtime=0), "nested_container"),
            (b"PK\x03\x04 nothing", "zip_damaged"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "format_unsupported"),
            (b"\x89PNG\r\n\x1a\n" + bytes(90), "not_a_table"),
            (b"%PDF-1.7\n%\xe2\xe3", "not_a_table"),
            (b" <!DOCTYPE html><html>", "not_a_table"),
            (b"BZh91AY&SY", "format_unsupported"),
        ],
    )
    def test_what_is_refused(self, data: bytes, code: str) -> None:
        assert refusal(data, max_bytes=1_000_000).code == code

    def test_zip_files_with_other_than_one_member(self) -> None:
        error = refusal(self.zipped(**{"a.csv": self.TABLE, "b.csv": self.TABLE}))
        assert error.code == "zip_members"
        assert "a.csv, b.csv" in error.message
        assert refusal(self.zipped()).code == "zip_members"
        assert refusal(self.zipped(**{"x.exe": b"MZ\x90\x00" + bytes(99)})).code == "not_a_table"
        assert refusal(self.zipped(**{"t.csv": bytes(5_000_000)}), max_bytes=1_000_000).code == "too_large_unpacked"
        assert refusal(self.zipped(mimetype=b"application/vnd.oasis", **{"content.xml": b"<x/>"})).code == (
            "format_unsupported"
        )

    def test_the_path_of_a_member_is_only_a_label(self) -> None:
        sheet = sheet_of(self.zipped(**{"../../x.csv": self.TABLE}))
        assert (sheet.cells.height, sheet.facts.member) == (1, "../../x.csv")
        assert refusal(self.zipped(**{"../.x.csv": self.TABLE})).code == "zip_members"

    def test_an_encrypted_zip(self) -> None:
        data = bytearray(self.zipped(**{"t.csv": self.TABLE}))
        data[6] |= 1
        data[data.index(b"PK\x01\x02") + 8] |= 1
        assert refusal(bytes(data)).code == "zip_encrypted"

    def test_a_large_file_is_refused(self) -> None:
        assert refusal(self.TABLE * 100, max_bytes=1000).code == "too_large"


class TestWorkbooks:
    def saved(self, *sheets: list[list[object]]) -> bytes:
        workbook = openpyxl.Workbook()
        workbook.remove(workbook.active)
        for rows in sheets:
            sheet = workbook.create_sheet()
            for row in rows:
                sheet.append(row)
        stream = io.BytesIO()
        workbook.save(stream)
        return stream.getvalue()

    def test_cells_become_text(self) -> None:
        values = ["0049", 7, 7.0, 0.1, True, dt.date(2024, 5, 31), dt.datetime(2024, 5, 31, 12, 30), None]  # noqa: DTZ001
        sheet = sheet_of(self.saved([], [["t", "i", "f", "g", "b", "d", "dt", "n"], values, [], ["x, y"]]))
        expected = ("0049", "7", "7", "0.1", "TRUE", "2024-05-31", "2024-05-31 12:30:00", "")
        assert sheet.cells.rows() == [expected, ("x, y", *[""] * 7)]
        assert sheet.facts.container == "xlsx"
        assert sheet.facts.member == "Sheet2" or sheet.facts.member
        assert sheet.records["line_start"].to_list() == [2, 3, 4]
        assert sheet.discarded.to_list() == [2]
        assert raw(sheet, 3) == b'"x, y",,,,,,,\r\n'

    def test_hidden_sheets_are_skipped(self) -> None:
        workbook = openpyxl.Workbook()
        workbook.active.append(["secret", "x"])
        workbook.active.sheet_state = "hidden"
        for row in (["title"], [], ["name", "phone", "city"], ["Ann", "1", "Bonn"]):
            workbook.create_sheet("Leads").append(row) if "Leads" not in workbook else workbook["Leads"].append(row)
        stream = io.BytesIO()
        workbook.save(stream)
        sheet = sheet_of(stream.getvalue())
        assert (sheet.facts.member, sheet.facts.header_line) == ("Leads", 3)

    @pytest.mark.parametrize(
        ("rows", "code"),
        [
            ([], "empty_file"),
            ([["a", "b"]], "header_only"),
            ([["a", "A"], [1, 2]], "doubled_header"),
            ([[1, 2], [3, 4]], "no_header"),
            ([["a", "b"], [1, "=A2+1"]], "formula_without_value"),
        ],
    )
    def test_what_is_refused(self, rows: list[list[object]], code: str) -> None:
        assert refusal(self.saved(rows)).code == code

    def test_a_bomb_is_not_opened(self) -> None:
        stream = io.BytesIO(self.saved([["a"], ["x"]]))
        with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/media/big.bin", bytes(5_000_000))
        assert refusal(stream.getvalue(), max_bytes=1_000_000).code == "too_large_unpacked"


class TestRawWorkbooks:
    """Sheets that no well-behaved writer makes."""

    NAMES = '<row r="1"><c r="A1" t="inlineStr"><is><t>name</t></is></c><c r="B1" t="str"><v>note</v></c></row>'

    def written(self, rows: str, shared: str = "") -> bytes:
        source, stream = io.BytesIO(), io.BytesIO()
        openpyxl.Workbook().save(source)
        kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
        space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(stream, "w") as new:
            for name in old.namelist():
                if name == "xl/sharedStrings.xml":
                    continue
                data = old.read(name).decode()
                data = re.sub(r"<Override[^>]*sharedStrings[^>]*/>", "", data) if "Types" in name else data
                if name == "xl/worksheets/sheet1.xml":
                    data = f"<worksheet {space}><sheetData>{self.NAMES}{rows}</sheetData></worksheet>"
                elif name == "[Content_Types].xml":
                    data = data.replace(
                        "</Types>", f'<Override PartName="/xl/shared.xml" ContentType="{kind}"/></Types>'
                    )
                new.writestr(name, data)
            new.writestr("xl/shared.xml", f"<sst {space}>{shared}</sst>")
        return stream.getvalue()

    def text_row(self, number: int, *values: str) -> str:
        return f'<row r="{number}">' + "".join(f'<c t="str"><v>{value}</v></c>' for value in values) + "</row>"

    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("a_x000D_\nb", "a\r\nb"),
            ("_x0041_", "A"),
            ("_x005F_x0041_", "_x0041_"),
            ("x005F_", "x005F_"),
            ("_xD83D__xDE00_!", "😀!"),
            ("_xD83D_", "_xD83D_"),
            ("_x0000_", "_x0000_"),
            ("_x00e9_x", "éx"),
            ("_x004_", "_x004_"),
        ],
    )
    def test_escapes_in_texts(self, written: str, meant: str) -> None:
        cells = (
            f'<c r="A2" t="s"><v>0</v></c><c r="B2" t="inlineStr"><is><t xml:space="preserve">{written}</t></is></c>'
        )
        rows = f'<row r="2">{cells}</row>' + self.text_row(3, written, "x")
        sheet = sheet_of(self.written(rows, f"<si><t>{written}</t></si>"))
        assert sheet.cells.rows() == [(meant, meant), (meant, "x")]

    def test_error_cells_reject_their_record(self) -> None:
        bad = '<row r="3"><c r="A3" t="str"><v>Bob</v></c><c r="B3" t="e"><v>#REF!</v></c></row>'
        sheet = sheet_of(self.written(self.text_row(2, "Ann", "x") + bad + self.text_row(4, "Cid", "#N/A")))
        assert sheet.cells.rows() == [("Ann", "x"), ("Cid", "#N/A")]
        assert sheet.rows.to_list() == [1, 3]
        problem = sheet.problems.row(0, named=True)
        assert [problem[key] for key in ("row", "code", "column", "value")] == [2, "cell_error", "note", "#REF!"]
        assert problem["message"].startswith("Line 3: ")
        assert raw(sheet, 2) == b"Bob,#REF!\r\n"

    @pytest.mark.parametrize(
        ("rows", "code"),
        [
            ([3, 2], "rows_out_of_order"),
            ([2, 2], "rows_out_of_order"),
            ([0], "rows_out_of_order"),
            ([2, 1_048_577], "cell_out_of_range"),
            ([2, 999_999_999], "cell_out_of_range"),
            ([2, 1_048_576], "too_many_blank_rows"),
            ([500, 1004], "too_many_blank_rows"),
        ],
    )
    def test_rows_in_impossible_places(self, rows: list[int], code: str) -> None:
        assert refusal(self.written("".join(self.text_row(at, "a", "b") for at in rows))).code == code

    def test_cells_in_impossible_places(self) -> None:
        cell = '<c r="{}" t="str"><v>x</v></c>'
        for places in (["B2", "A2"], ["A2", "A2"], ["A3"]):
            row = "".join(cell.format(place) for place in places)
            assert refusal(self.written(f'<row r="2">{row}</row>')).code == "rows_out_of_order"
        assert refusal(self.written(f'<row r="2">{cell.format("XFE2")}</row>')).code == "cell_out_of_range"

    def test_absent_rows_are_blank_records_within_a_bound(self) -> None:
        empty = '<row r="1048576" ht="20"><c r="XFD1048576" s="0"/></row>'
        sheet = sheet_of(self.written(self.text_row(2, "a", "b") + self.text_row(1003, "c", "d") + empty))
        assert sheet.cells.rows() == [("a", "b"), ("c", "d")]
        assert (sheet.records.height, sheet.discarded.len()) == (1002, 1000)
        assert sheet.records["line_start"][-1] == 1003

    def test_limits_of_a_sheet(self) -> None:
        data = self.written("".join(self.text_row(at, "a", "b") for at in range(2, 7)))
        assert sheet_of(data, max_records=5).cells.height == 5
        assert refusal(data, max_records=4).code == "too_many_records"
        assert refusal(data, max_cells=11).code == "too_many_cells"
        wide = "".join(f'<row r="{at}"><c r="XFD{at}" t="str"><v>x</v></c></row>' for at in range(2, 1300))
        assert refusal(self.written(wide)).code == "too_many_cells"
