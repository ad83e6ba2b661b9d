"""Sample files as real partners send them, made from a seed: the same seed gives the same bytes.

The demo shows them, the benchmarks measure with them, and the tests read them; nothing here is about a real person.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# From a fixed block of each country's mobile numbers, so that every number is valid and none repeats.
_DK_FIRST, _DE_FIRST = 26_000_000, 15_112_000_000
_BLOCK = 3_000_000
_STEP = 1_000_003  # prime to the block: every number once, in no order, as real files have them

_FIRST = [
    "Anna",
    "Bente",
    "Carl",
    "Dorte",
    "Erik",
    "Freja",
    "Gert",
    "Hanne",
    "Ib",
    "Jens",
    "Karen",
    "Lars",
    "Mette",
    "Niels",
    "Ole",
    "Pia",
    "Rikke",
    "Søren",
    "Tove",
    "Ulla",
]
_LAST = ("Andersen", "Bach", "Christensen", "Dahl", "Eriksen", "Friis", "Gade", "Holm", "Iversen", "Jørgensen", "Kjær", "Lund", "Møller", "Nygård", "Østergaard")  # fmt: skip
_DE_FIRST_NAMES = ("Anke", "Bernd", "Claudia", "Dieter", "Elke", "Franz", "Grete", "Heinz", "Inge", "Jörg", "Käthe", "Lutz", "Monika", "Norbert", "Ursula")  # fmt: skip
_DE_LAST_NAMES = ("Bäcker", "Fischer", "Groß", "Huber", "Jäger", "König", "Lehmann", "Müller", "Richter", "Schröder", "Vogel", "Weiß", "Zimmermann")  # fmt: skip
_DK_PLACES = (
    ("2100", "København Ø"),
    ("8000", "Aarhus C"),
    ("5000", "Odense C"),
    ("9000", "Aalborg"),
    ("6700", "Esbjerg"),
)
_DE_PLACES = (
    ("10115", "Berlin"),
    ("20095", "Hamburg"),
    ("50667", "Köln"),
    ("80331", "München"),
    ("40213", "Düsseldorf"),
)
_SUPPLIERS = ("Nordkraft", "Havvind", "Østnet", "Grøn El", "Byens Energi")
_CODES = ("DK-CPH", "DK-AAR", "CPH-101", "CPH-102", "AAR-101", "EVE-101", "dk-cph-eve", " DK ")

CLEAN_HEADER = (
    "Lead ID", "First name", "Last name", "Phone", "E-mail", "Address", "Postcode", "City", "Country",
    "Date of birth", "Priority", "Current supplier", "Yearly consumption, kWh", "Owner code", "Comments", "Campaign tag",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One file of a partner."""

    name: str
    source: str
    door: str
    """`ftp`, `ftps`, `sftp` or `folder`"""
    data: bytes


def write_all(folder: Path, *, clean_rows: int = 10_000) -> list[Path]:
    """Writes every sample into a folder; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for sample in every(clean_rows=clean_rows):
        path = folder / sample.name
        path.write_bytes(sample.data)
        paths.append(path)
    return paths


def every(*, clean_rows: int = 10_000) -> Iterator[Sample]:
    """The samples in the order in which the demo sends them."""
    yield Sample(name="nordlead-2026-11.csv", source="nordlead", door="ftps", data=clean(clean_rows))
    packed = gzip.compress(clean(2_000, start=2_000_000), mtime=0)
    yield Sample(name="nordlead-2026-11-extra.csv.gz", source="nordlead", door="ftps", data=packed)
    yield Sample(name="nordlead-corrections.csv", source="nordlead", door="ftp", data=dirty())
    whole = clean(500, start=50_000)
    digest = hashlib.sha256(whole).hexdigest().encode()
    yield Sample(name="nordlead-cut.csv.sha256", source="nordlead", door="ftp", data=digest)
    yield Sample(name="nordlead-cut.csv", source="nordlead", door="ftp", data=whole[: len(whole) // 2])
    yield Sample(name="Kundenliste_November.csv", source="stadtwerk", door="sftp", data=german(1_500))
    yield Sample(name="fibre_DK-AAR_2026-11.xlsx", source="fibreweb", door="folder", data=workbook(400))
    yield Sample(name="logo.csv", source="stadtwerk", door="ftp", data=picture())
    yield Sample(name="no-phones.csv", source="fibreweb", door="folder", data=b"Name,City\nLund,Odense\n")


def clean(rows: int, *, start: int = 0, seed: int = 7) -> bytes:
    """A clean UTF-8 file of Danish leads with commas, `start` numbers further on in the block."""
    return _csv([CLEAN_HEADER, *_danish(rows, start, random.Random(seed))])


def mixed(rows: int, *, start: int, seed: int) -> bytes:
    """A file as it comes from a web form: most rows are good, some have what people type."""
    chance = random.Random(seed)
    lines: list[tuple[str, ...]] = [CLEAN_HEADER]
    for row in _danish(rows, start, chance):
        cells = list(row)
        if chance.random() < _TYPED_WRONG:
            name, value = chance.choice(_TYPED)
            cells[_COLUMN[name]] = value
        lines.append(tuple(cells))
    return _csv(lines)


def german(rows: int, *, start: int = 0, seed: int = 11) -> bytes:
    """Semicolons, cp1252, German headers, dates and decimal habits; needs the source's saved mapping."""
    chance = random.Random(seed)
    header = ("Kd-Nr.", "Anrede", "Vorname", "Nachname", "Telefon", "E-Mail", "Straße", "PLZ", "Ort", "Geb.-Datum", "Versorger", "Bemerkung", "Kürzel")  # fmt: skip
    lines: list[tuple[str, ...]] = [header]
    for number in range(start, start + rows):
        first, last = chance.choice(_DE_FIRST_NAMES), chance.choice(_DE_LAST_NAMES)
        postcode, city = chance.choice(_DE_PLACES)
        phone = f"0{(_DE_FIRST + number * 7)}"
        lines.append((
            f"K-{number:05}", chance.choice(("Herr", "Frau")), first, last, f"{phone[:5]} / {phone[5:]}",
            f"kunde{number}@example.com", f"Hauptstraße {chance.randint(1, 200)}", postcode, city, _day(chance, "."),
            "Stadtwerke Süd", "Rückruf gewünscht; bitte vormittags" if number % 40 == 0 else "",
            chance.choice(("DE-BER", "DE-HAM", "BER-101", "HAM-102")),
        ))  # fmt: skip
    return _csv(lines, delimiter=";").decode().encode("cp1252")


def workbook(rows: int, *, start: int = 1_500_000, seed: int = 13) -> bytes:
    """An .xlsx of fibre leads; the owner's code stands in the file's name."""
    from openpyxl import Workbook  # noqa: PLC0415 - only who makes samples needs it

    chance = random.Random(seed)
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Leads")
    sheet.append(["Navn", "Mobil", "E-mail", "Adresse", "Postnr", "By", "Boligtype", "Hastighed", "Ring op"])
    for number in range(rows):
        postcode, city = chance.choice(_DK_PLACES)
        sheet.append([
            f"{chance.choice(_FIRST)} {chance.choice(_LAST)}", _danish_phone(start + number, number), f"hus{number}@example.com",
            f"Havnegade {chance.randint(1, 99)}", int(postcode), city, chance.choice(("house", "flat", "business")),
            chance.choice((20, 50, 100, 300)), "2026-12-01 10:30" if number % 50 == 0 else None,
        ])  # fmt: skip
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def dirty() -> bytes:
    """Every kind of reject, once or a few times, among good rows."""
    good = _danish(60, 1_000_000, random.Random(17))
    lines = [",".join(CLEAN_HEADER).replace("Yearly consumption, kWh", '"Yearly consumption, kWh"').encode()]
    for number, row in enumerate(good):
        lines.append(_line(row))
        if number < len(_FAULTS):
            lines.extend(_FAULTS[number](row))
    return b"\r\n".join(lines) + b"\r\n"


def picture() -> bytes:
    """The smallest PNG: somebody's logo with the wrong name."""
    return bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360f8cfc000000301010018dd8db00000000049454e44ae426082"
    )


def do_not_call() -> bytes:
    """A list with one number of the dirty file."""
    return f"phone\n{_LISTED}\n".encode()


_LISTED = "+4528999999"
_TYPED_WRONG = 0.12
_TYPED = (
    ("Phone", "12"), ("Phone", "twenty-one"), ("Phone", _LISTED), ("E-mail", "no at sign"), ("Postcode", "21000"),
    ("Date of birth", "31-02-1980"), ("Owner code", "DK-CHP"), ("Priority", "high"),
)  # fmt: skip
_COLUMN = {name: index for index, name in enumerate(CLEAN_HEADER)}


def _line(row: tuple[str, ...]) -> bytes:
    return _csv([row]).removesuffix(b"\r\n")


def _but(**cells: str) -> Callable[[tuple[str, ...]], list[bytes]]:
    """The row once more, under another number, with some cells changed; a cell's name is its header's first word."""

    def fault(row: tuple[str, ...]) -> list[bytes]:
        # Another number, so that the fault meant is the only one.
        changed = [*row[:3], f"+4528{row[0][-6:]}", *row[4:]]
        for name, value in cells.items():
            changed[_COLUMN[name.replace("_", " ")]] = value
        return [_line(tuple(changed))]

    return fault


def _text(make: Callable[[bytes], bytes]) -> Callable[[tuple[str, ...]], list[bytes]]:
    return lambda row: [make(line) for line in _but()(row)]


_FAULTS: tuple[Callable[[tuple[str, ...]], list[bytes]], ...] = (
    _but(Phone="twenty-one"),
    _but(Phone="12"),
    _but(Phone="+45 1234 5678 9012 3456"),
    _but(Phone="+999 1234567"),
    _but(Phone=""),
    _but(**{"E-mail": "no at sign"}),
    _but(Date_of_birth="31-02-1980"),
    _but(Date_of_birth="01-01-2080"),
    _but(Postcode="21000"),
    _but(Country="Atlantis"),
    _but(Priority="200"),
    _but(Priority="high"),
    _but(First_name="x" * 120),
    _but(Owner_code="DK-CHP"),
    _but(Owner_code="CPH-999", Priority="-5", **{"E-mail": "two@at@signs"}),
    _but(Phone=_LISTED),
    lambda row: [_line(row)],  # the same number twice in the file
    lambda _row: [_line(_danish(1, 0, random.Random(7))[0])],  # in the campaign since the first file
    lambda _row: [b"only,three,cells"],
    _text(lambda line: line + b",one,too,many"),
    _text(lambda line: line.replace(b"Lead", b"", 1).replace(b",", b',"stray" text,', 1)),
    _text(lambda line: line.replace(b",autumn", b',"never closed')),
    _text(lambda line: line.replace(b",DK,", b",D\x00K,")),
    _text(lambda line: line.replace(b",autumn", b",autumn \xff\xfe")),
    lambda _row: [b""],
    lambda _row: [_line(CLEAN_HEADER)],
    _but(Comments="=HYPERLINK(formula of a spreadsheet)"),
)


def _danish(rows: int, start: int, chance: random.Random) -> list[tuple[str, ...]]:
    made: list[tuple[str, ...]] = []
    for number in range(rows):
        first, last = chance.choice(_FIRST), chance.choice(_LAST)
        postcode, city = chance.choice(_DK_PLACES)
        made.append((
            f"N{start + number:07}", first, last, _danish_phone(start + number, number),
            f"{first.lower()}.{start + number}@example.com".replace("ø", "oe"),
            f"{chance.choice(('Vestergade', 'Søndergade', 'Skolevej'))} {chance.randint(1, 150)}",
            postcode, city, "DK", _day(chance, "-"), str(chance.randint(0, 100)), chance.choice(_SUPPLIERS),
            str(chance.randint(1_500, 9_000)), chance.choice(_CODES),
            "Asked for a call\nafter 5 pm" if number % 97 == 0 else "", "autumn",
        ))  # fmt: skip
    return made


def _danish_phone(place: int, style: int) -> str:
    digits = str(_DK_FIRST + place * _STEP % _BLOCK)
    spaced = " ".join(digits[i : i + 2] for i in range(0, 8, 2))
    return (digits, spaced, f"+45 {spaced}", f"0045{digits}")[style % 4]


def _day(chance: random.Random, separator: str) -> str:
    day, month, year = chance.randint(1, 28), chance.randint(1, 12), chance.randint(1940, 2004)
    return separator.join((f"{day:02}", f"{month:02}", f"{year}"))


def _csv(lines: list[tuple[str, ...]], delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(lines)
    return text.getvalue().encode()
