"""What browsers load beside a page: read once, under addresses that change with the content, so kept for a year."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path

from fastapi import Request, Response
from starlette.exceptions import HTTPException

FOLDER = Path(__file__).parents[1] / "static"
PATH = "/static/{digest}/{name:path}"

_KINDS: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_KEPT = "public, max-age=31536000, immutable"
_DARK_RULES = re.compile(r"([^{}]*\[data-bs-theme=dark\][^{}]*)\{([^{}]*)\}")


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One file."""

    body: bytes
    packed: bytes
    """the same, gzipped"""
    kind: str
    digest: str

    @classmethod
    def of(cls, name: str, body: bytes) -> Asset:
        """A file of this name."""
        kind = _KINDS[Path(name).suffix]
        digest = hashlib.sha256(body).hexdigest()[:12]
        return cls(body=body, packed=gzip.compress(body, mtime=0), kind=kind, digest=digest)


@dataclass(frozen=True, kw_only=True)
class Assets:
    """Every file that pages refer to, by its path below `static/`."""

    by_name: Mapping[str, Asset]

    @classmethod
    @cache
    def read(cls, folder: Path = FOLDER) -> Assets:
        """All of a folder, once a process; licences and lists are no assets."""
        paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if _served(path)}
        return cls(by_name={name: Asset.of(name, _body(path)) for name, path in paths.items()})

    def url(self, name: str) -> str:
        """The address of a file, which is another one when its content is."""
        return f"/static/{self.by_name[name].digest}/{name}"

    async def answer(self, request: Request) -> Response:
        """A file. Under the address of an older content it is the newest one, and is not kept."""
        asset = self.by_name.get(request.path_params["name"])
        if asset is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        kept = request.path_params["digest"] == asset.digest
        headers = {"Cache-Control": _KEPT if kept else "no-cache", "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(asset.packed, media_type=asset.kind, headers=headers)
        return Response(asset.body, media_type=asset.kind, headers=headers)


def following_the_system(css: str) -> str:
    """The rules for `data-bs-theme=dark` once more, for `auto` where the system is dark.

    Bootstrap leaves this to a script, and until it runs a page is bright in the dark.
    """
    rules = "".join(
        f"{selector.replace('=dark]', '=auto]')}{{{body}}}" for selector, body in _DARK_RULES.findall(_plain(css))
    )
    return f"@media (prefers-color-scheme: dark){{{rules}}}"


def _plain(css: str) -> str:
    return re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)


def _served(path: Path) -> bool:
    return path.suffix in _KINDS


def _body(path: Path) -> bytes:
    body = path.read_bytes()
    return body + following_the_system(body.decode()).encode() if path.suffix == ".css" else body
