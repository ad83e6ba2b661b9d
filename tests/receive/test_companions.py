"""Companions: whatever tool wrote them, the same digest is read; what cannot be read is told, never guessed."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.errors import Rejected
from ingestd.receive import names
from ingestd.receive.companions import LARGEST, SUFFIXES, Kind, kind_of, parse

SHA256 = hashlib.sha256(b"rows").hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()
MD5 = hashlib.md5(b"rows").hexdigest()

digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
file_names = st.text(min_size=1, max_size=40).filter(lambda name: not names.problem(name) and name == name.strip())


@pytest.mark.parametrize(("suffix", "kind"), SUFFIXES.items())
def test_a_companion_is_known_by_its_suffix(suffix: str, kind: Kind) -> None:
    assert kind_of(f"leads.csv{suffix}") == ("leads.csv", kind)
    assert kind_of(f"leads.csv{suffix.upper()}") == ("leads.csv", kind)
    assert kind_of(suffix) is None


@given(file_names, st.sampled_from(sorted(SUFFIXES)))
def test_the_name_of_the_data_file_is_what_stands_before_the_suffix(name: str, suffix: str) -> None:
    assert kind_of(name + suffix) == (name, SUFFIXES[suffix])


@pytest.mark.parametrize("name", ["leads.csv", "done", "leads.done.csv", "leads.csv.\u017fha256", "x.ok\n"])
def test_other_files_are_no_companions(name: str) -> None:
    assert kind_of(name) is None


FORMS = {
    "alone": "{digest}",
    "alone with a line end": "{digest}\r\n",
    "sha256sum": "{digest}  {name}\n",
    "sha256sum of a binary file": "{digest} *{name}\n",
    "with a path": "{digest}  ./out/{name}\n",
    "with a Windows path": "{digest} *C:\\out\\{name}\r\n",
    "BSD": "SHA256 ({name}) = {digest}\n",
    "openssl": "SHA2-256({name})= {digest}\n",
    "older openssl": "SHA256({name})= {digest}\n",
    "certutil": "SHA256 hash of {name}:\r\n{digest}\r\nCertUtil: -hashfile command completed successfully.\r\n",
    "Get-FileHash": "\r\nAlgorithm  Hash  Path\r\n---------  ----  ----\r\nSHA256  {digest}  C:\\{name}  \r\n\r\n",
    "several": "{other}  a.csv\n{digest}  {name}\n{other}  {name}.old\n",
    "several with the same line twice": "{digest}  {name}\n{digest}  {name}\n",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@given(digest=digests, name=file_names, upper=st.booleans())
def test_a_digest_is_read_from_what_every_tool_writes(
    form: str, encoding: str, digest: str, name: str, upper: bool
) -> None:
    written = form.format(digest=digest.upper() if upper else digest, name=name, other="0" * 64)
    assert parse(Kind.SHA256, written.encode(encoding), name) == digest


@pytest.mark.parametrize(
    "arguments", [["sha256sum"], ["sha256sum", "--tag"], ["openssl", "dgst", "-sha256"], ["md5sum"]]
)
def test_the_tools_themselves_are_understood(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "leads.csv").write_bytes(b"rows")
    told = subprocess.run([*arguments, "leads.csv"], cwd=tmp_path, capture_output=True, check=True).stdout
    kind, digest = (Kind.MD5, MD5) if "md5sum" in arguments else (Kind.SHA256, SHA256)
    assert parse(kind, told, "leads.csv") == digest


def test_one_line_is_about_the_file_whatever_name_it_gives() -> None:
    """Many compute the digest before they give the file its final name."""
    assert parse(Kind.MD5, f"{MD5}  leads.csv.part\n".encode(), "leads.csv") == MD5


def test_a_name_in_the_sender_s_encoding_is_found() -> None:
    lines = f"{OTHER}  a.csv\n{SHA256}  K\u00f8benhavn.csv\n"
    assert parse(Kind.SHA256, lines.encode("cp1252"), "K\u00f8benhavn.csv") == SHA256
    assert parse(Kind.SHA256, lines.replace("\u00f8", "o\u0308").encode(), "K\u00f6benhavn.csv") == SHA256


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has no SHA256 digest of 64 hexadecimal digits in it"),
        (MD5.encode(), "has no SHA256 digest"),
        (f"{SHA256}0".encode(), "has no SHA256 digest"),
        (f"{SHA256}  a.csv\n{OTHER}  b.csv\n".encode(), "names other files, not leads.csv"),
        (f"{SHA256}\n{OTHER}\n".encode(), "gives several digests for it"),
        (f"{SHA256}  leads.csv\n{OTHER}  x/leads.csv\n".encode(), "gives several digests for it"),
        (b"\xff\xfea", "is no UTF-16 text"),
        (b" " * (LARGEST + 1), "is larger than 1048576 bytes"),
    ],
)
def test_an_unreadable_digest_is_told(content: bytes, told: str) -> None:
    with pytest.raises(Rejected, match=f"the companion of leads.csv {told}") as caught:
        parse(Kind.SHA256, content, "leads.csv")
    assert caught.value.code == "companion_unreadable"
    assert caught.value.suggestion


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("120", "120"),
        ("\ufeff000\r\n", "0"),
        ("0120 rows", "120"),
        ("rows=120;", "120"),
        ("count:120", "120"),
        ("leads-2026.csv 120", "120"),
        ("2026-11-24 12:30:00 leads.csv 120 rows", "120"),
        ("1,234 of 5", "1234"),
        ("1.234.567", "1234567"),
    ],
)
def test_a_count_is_the_first_whole_number(text: str, count: str) -> None:
    assert parse(Kind.COUNT, text.encode(), "leads-2026.csv") == count


@pytest.mark.parametrize("text", ["", "many", "-3", "1.5", "leads2026.csv", "\u0661\u0662"])
def test_a_count_without_a_number_is_told(text: str) -> None:
    with pytest.raises(Rejected, match=r"the companion of x\.csv has no whole number in it"):
        parse(Kind.COUNT, text.encode(), "x.csv")


@given(st.integers(0, 10**9 - 1), st.sampled_from(["{}", "{}\n", "rows: {}", "{} records in x.csv"]))
def test_every_count_is_read_as_it_was_written(number: int, form: str) -> None:
    assert parse(Kind.COUNT, form.format(number).encode(), "x.csv") == str(number)


@given(st.binary(), file_names)
def test_a_marker_may_hold_anything(content: bytes, name: str) -> None:
    assert parse(Kind.MARKER, content, name) == ""


@given(st.sampled_from([Kind.SHA256, Kind.MD5, Kind.COUNT]), st.binary(max_size=300), file_names)
def test_any_bytes_are_read_or_told(kind: Kind, content: bytes, name: str) -> None:
    try:
        said = parse(kind, content, name)
    except Rejected:
        return
    assert said
    assert set(said) <= set("0123456789abcdef")
