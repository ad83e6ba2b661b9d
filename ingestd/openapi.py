"""The description of the API: `python -m ingestd.openapi > docs/openapi.json`."""

from __future__ import annotations

import json
import sys

from fastapi import FastAPI

from ingestd.web.api.resources import document, open_api


def render() -> str:
    """The whole document; the same for the same code."""
    app = FastAPI()
    open_api(app)
    return json.dumps(document(app), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
