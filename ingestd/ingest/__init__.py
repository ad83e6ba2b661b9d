"""The road from a durable file to a lead pool, one room a module, top to bottom in `road.py`."""
