"""ingestd receives files of leads and loads them into lead pools, with a log of the fate of every row."""
