"""Reading: the bytes of a delivery become a sheet, in which every record is good, rejected with a reason, or blank.

`read` is the only verb. The rooms below it, top to bottom: container, text (encoding), dialect, header, preamble,
scan (fast), records (exact), assembly, tables, draft; workbook, grid, package
and formats for .xlsx.
"""

from __future__ import annotations

from ingestd.ingest.reading.reader import read
from ingestd.ingest.reading.sheet import RECORDS, Sheet, TextFacts
from ingestd.ingest.reading.trailer import Trailer

__all__ = ["RECORDS", "Sheet", "TextFacts", "Trailer", "read"]
