"""Valid numbers with an extension behind them, such as `20 64 02 29 ext. 70` and `+45 2064 0229 x70`, in bulk.

libphonenumber cuts the extension off before it reads the number (`_maybe_strip_extension`), so the number before it is
decided as any other. Where that one is not valid, it depends on why whether there is an extension: libphonenumber says.
"""

from __future__ import annotations

import polars as pl

from ingestd.ingest.phones import plain

# Nine digits at most: what `x` may have, and enough; `ext` may have twenty.
_LABELLED = rf"(?i)\A({plain.BEFORE}\+?{plain.WITHIN}[0-9)])[ \t]*(?:e?xtn?|x)[:.]?[ \t]*([0-9]{{1,9}})\z"


def decide(unsure: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Splits `row, number, region` into the decided (`row, e164, reason, extension`) and the rest."""
    groups = pl.col("number").str.extract_groups(_LABELLED)
    cut = unsure.select(
        "row", "region", size=pl.col("number").str.len_bytes(), number=groups.struct[0], extension=groups.struct[1]
    )
    labelled = cut.drop_nulls("number").filter(pl.col("size") <= plain.MAX_TYPED)
    decided, _ = plain.decide(plain.lines(labelled["number"], labelled["region"]))
    valid = decided.drop_nulls("e164")
    found = labelled[valid["row"]].select("row", "extension").hstack(valid.select("e164", "reason"))
    return found, unsure.join(found, on="row", how="anti")
