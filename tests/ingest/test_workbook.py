"""Workbooks: which sheet is read, and what becomes of the others."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Sequence

import openpyxl
import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.styles.numbers import BUILTIN_FORMATS

from ingestd.errors import Rejected
from ingestd.ingest.reading import Sheet, formats, grid, package, read, workbook
from ingestd.model import DialectHints, State
from tests.ingest.conftest import Station

Rows = Sequence[Sequence[object]]

LEADS: Rows = [["phone", "name"], ["26000001", "Ada"], ["26000002", "Bo"]]
MORE: Rows = [["phone", "name"], ["26000003", "Eva"]]
MIXED: Rows = [["phone", "name"], ["x", "Jørgen; Bo"], ["26000002", 'the "B"']]
LEGEND: Rows = [["Code", "Meaning"], ["DK", "Denmark"], ["DK-CPH", "Copenhagen"]]


def book(**sheets: Rows) -> bytes:
    written = openpyxl.Workbook()
    written.remove(written.active)
    for name, rows in sheets.items():
        sheet = written.create_sheet(name)
        for row in rows:
            sheet.append(row)
    return saved(written)


def saved(written: openpyxl.Workbook) -> bytes:
    stream = io.BytesIO()
    written.save(stream)
    return stream.getvalue()


def sheet_of(data: bytes) -> Sheet:
    return read(data, name="leads.xlsx")


def refusal(data: bytes) -> Rejected:
    with pytest.raises(Rejected) as caught:
        sheet_of(data)
    return caught.value


def rewritten(data: bytes, change: Callable[[str], str], folder: str = "xl/worksheets/") -> bytes:
    """The workbook with other XML, as other programs write it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            text = old.read(name).decode()
            new.writestr(name, change(text) if name.startswith(folder) else text)
    return stream.getvalue()


def prefixed(xml: str) -> str:
    return re.sub(r"<(/?)(\w+)([ >/])", r"<\1x:\2\3", xml.replace("xmlns=", "xmlns:x="))


class TestSheets:
    @pytest.mark.parametrize(
        "other",
        [
            MORE,
            [["Leads of April"], [], *MORE],
            [["NAME", "Phone", "city"], ["Eva", "by request", "Odense"]],
            [["tlf", "navn"], ["26000003", "Eva"]],
            [["navn", "tlf"], ["Eva", 26000003], ["Ib", 26000004], ["Bo", 26000005]],
        ],
    )
    def test_records_on_two_sheets_are_refused(self, other: Rows) -> None:
        for sheets in ({"March": LEADS, "April": other}, {"April": other, "March": LEADS}):
            error = refusal(book(Empty=[], **sheets))
            assert error.code == "workbook_sheets"
            assert "“March”" in error.message
            assert "“April”" in error.message

    def test_the_second_sheet_is_looked_at_to_its_end(self) -> None:
        notes: list[list[object]] = [["note", "by"]] + [["call back", "Ada"]] * 500
        assert sheet_of(book(March=LEADS, Notes=notes)).cells.height == 2
        assert refusal(book(March=LEADS, Notes=[*notes, ["26000003", "Eva"]])).code == "workbook_sheets"

    @pytest.mark.parametrize("title", [[["Leads of March"]], [["Leads of March"], [], ["Acme A/S"]], [["Acme"]] * 30])
    def test_a_title_on_a_sheet_of_its_own_is_passed(self, title: Rows) -> None:
        sheet = sheet_of(book(Cover=title, March=LEADS))
        assert (sheet.facts.member, sheet.cells.height) == ("March", 2)
        assert sheet.problems.is_empty()

    @pytest.mark.parametrize("other", [LEGEND, [["Contact", "+45 70 10 20 30"]], [["phone", "name"]]])
    def test_a_sheet_that_may_be_more_is_told(self, other: Rows) -> None:
        for sheets in ({"March": LEADS, "Other": other}, {"Other": other, "March": LEADS}):
            sheet = sheet_of(book(**sheets))
            assert (sheet.facts.member, sheet.cells.height) == ("March", 2)
            told = sheet.problems.select("row", "code", "severity", "value", "message").rows()
            message = "The sheet “Other” was left out; “March” was read."
            assert told == [(1, "sheet_skipped", "warning", "Other", message)]

    def test_without_a_table_the_first_sheet_is_told_of(self) -> None:
        assert refusal(book(March=[["phone", "name"]], Legend=LEGEND)).code == "header_only"
        assert refusal(book(March=[["26000001", "Ada"]], Legend=LEGEND)).code == "no_header"
        assert refusal(book(March=LEADS, April=[["26000003", "Eva"]])).code == "workbook_sheets"
        assert refusal(book(Cover=[["Leads"]])).code == "header_only"
        assert refusal(book(One=[], Two=[])).code == "empty_file"

    def test_the_warning_is_in_the_log_of_the_delivery(self, station: Station) -> None:
        delivery = station.deliver(book(March=LEADS, Legend=LEGEND), name="leads.xlsx")
        station.check_balance(delivery)
        assert delivery.counts.inserted == 2
        assert [row["code"] for row in station.rows(delivery, "errors")] == ["sheet_skipped"]

    @given(
        leads=st.lists(
            st.lists(st.tuples(st.integers(30000000, 99999999), st.sampled_from(["Ada", "Bo"])), max_size=4),
            min_size=1,
            max_size=4,
        )
    )
    def test_every_lead_is_read_or_the_file_is_refused(self, leads: list[list[tuple[int, str]]]) -> None:
        sheets = {f"s{at}": [["phone", "name"], *rows] for at, rows in enumerate(leads)}
        filled = [rows for rows in leads if rows]
        if len(filled) == 1:
            cells = sheet_of(book(**sheets)).cells
            assert cells.rows() == [(str(number), name) for number, name in filled[0]]
        else:
            assert refusal(book(**sheets)).code == ("workbook_sheets" if filled else "header_only")


class TestFormulas:
    """openpyxl writes formulas without values: `<c r="C2"><f>1+1</f><v></v></c>`."""

    DATA = book(March=[["phone", "name", "note"], ["26000001", "Ada", "=1+1"]])

    @pytest.mark.parametrize(
        "change",
        [
            lambda xml: xml,
            prefixed,
            lambda xml: xml.replace("<f>", "\n  <f>").replace("</f>", "</f>\n  "),
            lambda xml: xml.replace("<v></v>", ""),
            lambda xml: xml.replace("<v></v>", "<v/>").replace("<f>", '<f t="shared" si="0">'),
            lambda xml: xml.replace("<v></v>", "").replace('r="C2"', 'r="C2" t="str"'),
        ],
    )
    def test_one_that_was_never_computed_is_no_empty_cell(self, change: Callable[[str], str]) -> None:
        assert refusal(rewritten(self.DATA, change)).code == "formula_without_value"

    @pytest.mark.parametrize("shape", [str, prefixed])
    @pytest.mark.parametrize(
        ("kind", "value", "meant"),
        [("str", "<v></v>", ""), ("str", "<v/>", ""), ("str", "<v>x</v>", "x"), ("n", "<v>0</v>", "0")],
    )
    def test_what_was_computed_counts(self, shape: Callable[[str], str], kind: str, value: str, meant: str) -> None:
        def computed(xml: str) -> str:
            return shape(xml.replace("<v></v>", value).replace('r="C2"', f'r="C2" t="{kind}"'))

        assert sheet_of(rewritten(self.DATA, computed)).cells["note"].to_list() == [meant]

    def test_a_hidden_sheet_may_wait_for_its_values(self) -> None:
        written = openpyxl.load_workbook(io.BytesIO(book(March=LEADS, Totals=[["=1+1"]])))
        written["Totals"].sheet_state = "hidden"
        assert sheet_of(saved(written)).cells.height == 2


class TestWork:
    """Small files that would take long, and real ones that must not be taken for them."""

    DATA = book(March=LEADS)

    def test_a_row_of_far_too_many_cells_is_never_in_memory(self) -> None:
        data = rewritten(
            self.DATA, lambda xml: xml.replace("</row></sheetData>", "<c/>" * 300_000 + "</row></sheetData>")
        )
        assert len(data) < 20_000
        assert refusal(data).code == "cell_out_of_range"

    def test_empty_cells_are_counted_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = rewritten(self.DATA, lambda xml: xml.replace("</row>", '<c s="0"/>' * 100 + "</row>"))
        assert sheet_of(data).cells.height == 2
        monkeypatch.setattr(grid, "MAX_CELLS", 300)
        assert refusal(data).code == "too_many_cells"

    def test_a_full_row_is_no_bomb(self) -> None:
        wide = [[f"n{at}" for at in range(16_384)], ["=1"] * 16_384]
        data = rewritten(book(March=wide), lambda xml: xml.replace("<v></v>", "<v>1</v>"))
        assert workbook._render(data, DialectHints())[0].width == 16_384

    @pytest.mark.parametrize(
        "rows", ["<row/>" * 400_000, ("<row>" + "<c/>" * 10_000 + "</row>") * 40], ids=["rows", "cells"]
    )
    def test_what_is_nothing_but_repetition_is_not_read(self, rows: str) -> None:
        unmeasured = rewritten(self.DATA, lambda xml: re.sub("<dimension[^>]*/>", "", xml))
        data = rewritten(unmeasured, lambda xml: xml.replace("</sheetData>", rows + "</sheetData>"))
        assert len(data) < 40_000
        assert refusal(data).code == "too_large_unpacked"

    def test_one_row_again_and_again_is_real(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(package, "_UNSUSPICIOUS", 10_000)
        rows = "".join(f'<row r="{at}"><c t="str"><v>26000001</v></c></row>' for at in range(4, 20_000))
        sheet = sheet_of(rewritten(self.DATA, lambda xml: xml.replace("</sheetData>", rows + "</sheetData>")))
        assert sheet.cells.height == 19_998

    @pytest.mark.parametrize("element", ["<xf/>", '<font><sz val="1"/></font>', "<border/>"])
    def test_many_styles_cost_little_and_too_many_are_refused(
        self, element: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def styled(xml: str) -> str:
            place = "cellXfs" if "xf" in element else f"{element[1:5]}"
            return re.sub(rf"(</{place}\w*>)", element * 60_000 + r"\1", xml, count=1)

        data = rewritten(self.DATA, styled, folder="xl/styles.xml")
        assert sheet_of(data).cells.height == 2
        monkeypatch.setitem(package._WHOLE, "xl/styles.xml", 50_000)
        assert refusal(data).code == "too_large_unpacked"

    def test_too_many_texts_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stream = io.BytesIO()
        with xlsxwriter.Workbook(stream) as written:
            sheet = written.add_worksheet()
            for at, row in enumerate([*LEADS, ("26000003", "Eva")]):
                sheet.write_row(at, 0, row)
        assert sheet_of(stream.getvalue()).cells.height == 3
        monkeypatch.setattr(package, "MAX_STRINGS", 7)
        assert refusal(stream.getvalue()).code == "too_many_cells"

    def test_what_follows_the_rows_is_not_made_objects_of(self) -> None:
        """Links of a sheet of leads are one for each e-mail address."""
        links = "<hyperlinks>" + '<hyperlink ref="A1"/>' * 300_000 + "</hyperlinks>"
        data = rewritten(self.DATA, lambda xml: xml.replace("</sheetData>", "</sheetData>" + links))
        assert sheet_of(data).cells.height == 2


class TestFormats:
    def test_they_are_those_of_openpyxl(self) -> None:
        codes = [
            "General",
            "0.00",
            "dd.mm.yyyy",
            "yyyy-mm-dd hh:mm",
            "[h]:mm:ss",
            "[$-409]d-mmm-yy;@",
            '0 "days"',
            "mm:ss",
        ]
        written = openpyxl.Workbook()
        for code in [*codes, *BUILTIN_FORMATS.values()]:
            written.active.append(["x"])
            written.active.cell(written.active.max_row, 1).number_format = code
        stream = io.BytesIO()
        written.save(stream)
        known = openpyxl.load_workbook(stream)
        with zipfile.ZipFile(stream) as archive, archive.open("xl/styles.xml") as source:
            found = formats.read(source)
        assert (set(found.dates), set(found.timedeltas)) == (known._date_formats, known._timedelta_formats)
        cells = [row[0] for row in known.active.iter_rows()]
        assert [found.shown(cell._style.xfId or cell.style_id) for cell in cells] == [
            cell.number_format for cell in cells
        ]
        assert found.shown(len(found.codes)) == ""

    def test_a_style_that_is_damaged_or_absent(self) -> None:
        data = book(March=LEADS)
        assert sheet_of(without(data, "xl/styles.xml")).cells.height == 2
        broken = rewritten(data, lambda xml: xml.replace('numFmtId="0"', 'numFmtId="x"'), folder="xl/styles.xml")
        assert refusal(broken).code == "workbook_damaged"


class TestKinds:
    def test_a_workbook_with_a_password_is_no_old_excel_file(self) -> None:
        old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512)
        error = refusal(old + "EncryptedPackage".encode("utf-16-le") + bytes(600))
        assert (error.code, error.suggestion) == ("zip_encrypted", "Send it without password.")
        assert refusal(old).code == "format_unsupported"

    def test_strict_open_xml_is_not_empty(self) -> None:
        def strict(xml: str) -> str:
            found = xml.replace(f"{TRANSITIONAL}/spreadsheetml/2006/main", f"{STRICT}/spreadsheetml/main")
            return found.replace(f"{TRANSITIONAL}/officeDocument/2006/", f"{STRICT}/officeDocument/")

        error = refusal(rewritten(book(March=LEADS), strict, folder=""))
        assert error.code == "format_unsupported"
        assert "Strict Open XML" in error.message


TRANSITIONAL, STRICT = "http://schemas.openxmlformats.org", "http://purl.oclc.org/ooxml"


class TestRejected:
    """A sheet is handed back as text, in which its rejected records can be sent again."""

    @pytest.mark.parametrize(
        ("hints", "lines"),
        [
            ({}, ["phone,name", "x,Jørgen; Bo", '26000002,"the ""B"""']),
            ({"delimiter": ";"}, ["phone;name", 'x;"Jørgen; Bo"', '26000002;"the ""B"""']),
            ({"delimiter": "\t", "quote": "'"}, ["phone\tname", "x\tJørgen; Bo", '26000002\tthe "B"']),
            ({"delimiter": "||"}, ["phone,name", "x,Jørgen; Bo", '26000002,"the ""B"""']),
            ({"quote": ","}, ["phone,name", "x,Jørgen; Bo", '26000002,"the ""B"""']),
            ({"encoding": "cp1252"}, ["phone,name", "x,Jørgen; Bo", '26000002,"the ""B"""']),
        ],
    )
    def test_the_text_is_as_the_files_of_the_source_are(self, hints: dict[str, str], lines: list[str]) -> None:
        data = book(March=MIXED)
        sheet = read(data, name="x.xlsx", hints=DialectHints(**hints))  # type: ignore[arg-type]
        assert sheet.original.decode("utf-8-sig").splitlines() == lines
        assert sheet.header_bytes == ("\ufeff" + lines[0] + "\r\n").encode()
        places = sheet.records.select("offset", "length").rows()
        assert [sheet.original[at : at + length].decode() for at, length in places] == [f"{x}\r\n" for x in lines[1:]]
        if hints.keys() == {"delimiter"} and hints["delimiter"] == ";":
            again = read(sheet.original, name="x.csv", hints=DialectHints(**hints))  # type: ignore[arg-type]
            assert again.cells.rows() == sheet.cells.rows()

    def test_a_trailer_may_have_the_separator_of_the_source_or_commas(self) -> None:
        data = book(March=[*LEADS, ["END", 2]])
        for mark in (";", ","):
            hints = DialectHints(delimiter=";", trailer=f"^END{mark}(?P<rows>[0-9]+)$")
            sheet = read(data, name="x.xlsx", hints=hints)
            assert sheet.trailer is not None
            assert sheet.trailer.saying(1) == f"END{mark}1\r\n".encode()

    def test_rejected_rows_mended_and_sent_again_load_where_a_separator_is_agreed(self, station: Station) -> None:
        station.change_source(dialect={"delimiter": ";"}, limits={})
        first = station.deliver(book(March=MIXED), name="leads.xlsx")
        assert (first.counts.inserted, first.counts.rejected) == (1, 1)
        rejected = station.download(first, "rejected")
        assert rejected == '\ufeffphone;name\r\nx;"Jørgen; Bo"\r\n'.encode()
        second = station.deliver(rejected.replace(b"\nx;", b"\n26000001;"), name="leads.rejected.csv")
        assert (second.counts.inserted, second.counts.rejected) == (1, 0)
        assert [lead["full_name"] for lead in station.leads(second)] == ["Jørgen; Bo"]

    def test_rejected_rows_can_be_sent_again_where_another_encoding_is_agreed(self, station: Station) -> None:
        """The byte order mark proves that they are UTF-8."""
        rows: Rows = [["Telefon", "Name"], ["x", "Jörg Müller; Öz"], ["0151 23456712", "Öz"]]
        for dialect in ({"encoding": "cp1252"}, {"encoding": "cp1252", "delimiter": ";"}, {"encoding": "utf-16"}):
            station.change_source("stadtwerk", dialect=dialect, limits={}, same_content="load")
            name = f"{len(dialect)}{dialect['encoding']}.xlsx"
            first = station.deliver(book(Leads=rows), source="stadtwerk", name=name)
            assert first.counts.rejected == 1
            rejected = station.download(first, "rejected")
            mended = rejected.replace(b"\nx", f"\n0151 2345678{first.id}".encode())
            second = station.deliver(mended, source="stadtwerk", name=f"{first.id}.rejected.csv")
            assert (second.state, second.counts.inserted) == (State.COMPLETED, 1)
            assert [lead["full_name"] for lead in station.leads(second)] == ["Jörg Müller; Öz"]


class TestHeaders:
    @pytest.mark.parametrize("note", [["", "", "note"], ["", "", "", "", "", "", "note"]])
    def test_a_note_beside_the_table_is_no_column_of_the_header(self, note: list[str]) -> None:
        sheet = sheet_of(book(March=[LEADS[0], [*LEADS[1], *note], LEADS[2]]))
        assert sheet.facts.header_line == 1
        assert sheet.cells.select("phone", "name").rows() == [("26000001", "Ada"), ("26000002", "Bo")]
        assert sheet.cells.row(0)[-1] == "note"

    def test_a_trailer_alone_is_no_table(self) -> None:
        with pytest.raises(Rejected) as caught:
            read(book(March=[["END", 0]]), name="x.xlsx", hints=DialectHints(trailer="^END,(?P<rows>[0-9]+)$"))
        assert caught.value.code == "header_unreadable"

    def test_rows_that_are_hardly_filled_make_no_header_of_the_title(self) -> None:
        names = ["phone", "name", "address", "postcode", "city", "note"]
        rows: Rows = [["Created", "2026-01-31"], [], names, ["26000001"], ["26000002", "Bo"]]
        assert sheet_of(book(March=rows)).facts.header_line == 3


def without(data: bytes, gone: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            if name != gone:
                new.writestr(name, old.read(name))
    return stream.getvalue()
