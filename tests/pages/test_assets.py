"""What browsers load beside a page: from us, unchanged, kept for as long as it is the same."""

from __future__ import annotations

import gzip
import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from ingestd.web.pages.assets import FOLDER, Assets
from ingestd.web.pages.rendering import TEMPLATES
from tests.pages.browsing import Site

VENDOR = FOLDER / "vendor"
ASSETS = Assets.read()


def vendored() -> dict[str, str]:
    listed = tomllib.loads((VENDOR / "VENDORED.toml").read_text(encoding="utf-8"))
    return {name: digest for package in listed["package"] for name, digest in package["files"].items()}


def test_what_others_made_is_as_they_made_it() -> None:
    there = {path.relative_to(VENDOR).as_posix(): path for path in VENDOR.rglob("*") if path.is_file()}
    there.pop("VENDORED.toml")
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in there.items()} == vendored()


def test_every_package_comes_with_its_licence() -> None:
    folders = {name.partition("/")[0] for name in vendored()}
    assert {f"{folder}/LICENSE" for folder in folders} <= vendored().keys()


@pytest.mark.parametrize("name", ASSETS.by_name)
def test_an_asset_is_kept_for_a_year_under_its_own_address(site: Site, name: str) -> None:
    answer = site.api.anybody().ask("GET", ASSETS.url(name))
    assert answer.status == 200
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.body == ASSETS.by_name[name].body
    packed = site.api.anybody().ask("GET", ASSETS.url(name), Accept_Encoding="gzip")
    assert (packed.headers["content-encoding"], gzip.decompress(packed.body)) == ("gzip", answer.body)


def test_an_old_address_gives_the_new_content_and_is_not_kept(site: Site) -> None:
    answer = site.api.anybody().ask("GET", "/static/0123456789ab/app.css")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize("name", ["nothing.css", "vendor/VENDORED.toml", "../templates/base.html", "%2e%2e/app.py"])
def test_nothing_else_is_served(site: Site, name: str) -> None:
    assert site.api.anybody().ask("GET", f"/static/0123456789ab/{name}").status == 404


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: path.name)
def test_no_template_has_a_script_or_style_of_its_own(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<style|style=|\son\w+=|javascript:|hx-on|hx-vals=.js|\|safe|autoescape false", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))


def test_nothing_is_loaded_from_elsewhere() -> None:
    for path in [*TEMPLATES.rglob("*.html"), *FOLDER.glob("*.css"), *FOLDER.glob("*.js")]:
        found = re.sub(r"http://www\.w3\.org/\S*", "", path.read_text(encoding="utf-8"))
        assert "://" not in found, path
