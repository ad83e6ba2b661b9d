"""Dispatch: who processes which delivery, and when. The ledger says whether it was done."""
