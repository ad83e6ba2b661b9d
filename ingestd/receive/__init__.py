"""The doors. They only land files: they know nothing of leads, and hand bytes to one landing (`landing.py`)."""
