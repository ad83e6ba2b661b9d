"""Containers: gzip and zip are opened, within bounds; what is no table at all is refused by its first bytes."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath

from ingestd.errors import Rejected

PIECE = 1 << 18

_FOREIGN = (
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF87a", "a GIF picture"),
    (b"GIF89a", "a GIF picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"%PDF-", "a PDF document"),
    (b"{\\rtf", "an RTF document"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90\x00", "a program"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"ID3", "a sound file"),
    (b"OggS", "a sound file"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML document"),
)
_UNOPENED = (
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
)
_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
"""The name of the stream in which Office keeps an encrypted .xlsx file"""
_RESAVE = "Save it as .xlsx or .csv and send that."


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """The content of a file and the container it came in."""

    data: bytes
    container: str = ""
    member: str = ""


def unpack(data: bytes, *, name: str, max_bytes: int) -> Unpacked:
    """Opens a gzip or zip file; raises Rejected for what cannot be opened or is no table."""
    _refuse_foreign(data, name)
    if data.startswith(_GZIP):
        content = Unpacked(data=_gunzip(data, max_bytes), container="gzip")
    elif data.startswith(_ZIP):
        content = _unzip(data, max_bytes)
    elif len(data) > max_bytes:
        raise Rejected("too_large", f"The file has {len(data):,} bytes; at most {max_bytes:,} are read.")
    else:
        return Unpacked(data=data)
    if content.container == "xlsx":
        return content
    _refuse_foreign(content.data, content.member or name)
    if content.data.startswith((_GZIP, *_ZIP)):
        suggestion = "Pack the table once, or send it unpacked."
        raise Rejected("nested_container", "The archive contains another archive.", suggestion=suggestion)
    return content


def _refuse_foreign(data: bytes, name: str) -> None:
    head = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").lower() if data[:1] not in b"\x89" else data[:64]
    for sign, what in _FOREIGN:
        if data.startswith(sign) or (sign.startswith(b"<") and head.startswith(sign)):
            raise Rejected(
                "not_a_table", f"{name}: this is {what}, not a table.", suggestion="Send a CSV or Excel file."
            )
    for sign, what in _UNOPENED:
        if data.startswith(sign):
            suggestion = "Send it unpacked, or as .zip or .gz."
            raise Rejected("format_unsupported", f"{name}: this is {what}, which is not opened.", suggestion=suggestion)
    if data.startswith(_OLE):
        if _ENCRYPTED in data:
            message = f"{name}: this workbook is protected by a password."
            raise Rejected("zip_encrypted", message, suggestion="Send it without password.")
        raise Rejected("format_unsupported", f"{name}: this is an old Excel file (.xls).", suggestion=_RESAVE)


def _gunzip(data: bytes, max_bytes: int) -> bytes:
    """All members of a gzip file, never more than `max_bytes` of them in memory."""
    parts: list[bytes] = []
    size = 0
    rest = data
    while rest:
        if not rest.startswith(_GZIP):
            if rest.strip(b"\x00"):
                raise Rejected("gzip_damaged", "Something else follows the gzip data.", suggestion=_send_again())
            break
        engine = zlib.decompressobj(wbits=31)
        pending = rest
        while not engine.eof:
            part = _inflate(engine, pending, max_bytes - size + 1)
            pending = engine.unconsumed_tail
            if not part and not pending and not engine.eof:
                raise Rejected("gzip_truncated", "The gzip file ends too early.", suggestion=_send_again())
            parts.append(part)
            size += len(part)
            _require_size(size, max_bytes)
        rest = engine.unused_data
    return b"".join(parts)


def _inflate(engine: zlib._Decompress, pending: bytes, room: int) -> bytes:
    try:
        return engine.decompress(pending, min(PIECE * 16, max(room, 1)))
    except zlib.error as error:
        raise Rejected("gzip_damaged", "The gzip file is damaged.", suggestion=_send_again()) from error


def _unzip(data: bytes, max_bytes: int) -> Unpacked:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError, IndexError) as error:
        raise Rejected("zip_damaged", "The zip file is damaged or incomplete.", suggestion=_send_again()) from error
    with archive:
        names = archive.namelist()
        if "[Content_Types].xml" in names and "xl/workbook.xml" in names:
            return Unpacked(data=data, container="xlsx")
        _refuse_documents(names)
        member = _only_member(archive)
        if member.flag_bits & 0x1:
            raise Rejected("zip_encrypted", f"{member.filename} is encrypted.", suggestion="Send it without password.")
        return Unpacked(data=_extract(archive, member, max_bytes), container="zip", member=member.filename)


def _refuse_documents(names: list[str]) -> None:
    if "mimetype" in names and "content.xml" in names:
        raise Rejected("format_unsupported", "This is an OpenDocument file (.ods).", suggestion=_RESAVE)
    if "[Content_Types].xml" in names:
        raise Rejected("format_unsupported", "This is an Office document, but no .xlsx workbook.", suggestion=_RESAVE)


def _only_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [info for info in archive.infolist() if not info.is_dir() and not _hidden(info.filename)]
    if len(members) == 1:
        return members[0]
    listed = ", ".join(info.filename for info in members[:5]) + (" …" if len(members) > 5 else "")
    found = f"The zip file contains {len(members)} files: {listed}." if members else "The zip file contains no file."
    raise Rejected("zip_members", found, suggestion="Send exactly one table in a zip file.")


def _hidden(name: str) -> bool:
    """What packers add by themselves. `../` hides nothing: a member is never written anywhere, its path is a label."""
    parts = PurePosixPath(name).parts
    return (
        not parts or parts[0] == "__MACOSX" or any(part.startswith(".") and part not in (".", "..") for part in parts)
    )


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, max_bytes: int) -> bytes:
    _require_size(member.file_size, max_bytes)
    parts: list[bytes] = []
    size = 0
    try:
        with archive.open(member) as stream:
            while part := stream.read(PIECE):
                parts.append(part)
                size += len(part)
                _require_size(size, max_bytes)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, KeyError) as error:
        message = f"{member.filename} in the zip file is damaged or packed in a way that is not read."
        raise Rejected("zip_damaged", message, suggestion=_send_again()) from error
    return b"".join(parts)


def _require_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        message = f"Unpacked, the file has more than {max_bytes:,} bytes."
        raise Rejected("too_large_unpacked", message, suggestion="Split it into smaller files.")


def _send_again() -> str:
    return "Pack it again, check that it opens, and send it again."
