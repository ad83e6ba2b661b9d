"""From the setting to the storage: what is refused, and that no secret is ever repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ingestd import settings
from ingestd.errors import Misconfigured, Unavailable
from ingestd.settings import StorageSettings
from ingestd.storage import Folder, Objects, open_storage
from tests.running import example_config


def test_without_a_url_it_is_the_home(tmp_path: Path) -> None:
    opened = open_storage(StorageSettings(), tmp_path)
    assert (opened, opened.shared) == (Folder(tmp_path), False)


def test_a_share_is_a_folder_that_must_be_there(tmp_path: Path) -> None:
    opened = open_storage(StorageSettings(url="file:///mnt/the%20leads"), tmp_path)
    assert isinstance(opened, Folder)
    assert (str(opened), opened.shared) == ("/mnt/the leads", True)
    with pytest.raises(Unavailable, match=r"cannot be used: No such file.*is the share mounted"):
        opened.check()


@pytest.mark.parametrize("url", ["s3://bucket/a/b", "gs://bucket", "az://container/prefix/"])
def test_each_cloud_is_reached_by_its_own_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Nobody answers on this address, which is told within the time that is set."""
    environment = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret-word",
        "AZURE_STORAGE_ACCOUNT_NAME": "account",
        "AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0LXdvcmQ=",
        "GOOGLE_SERVICE_ACCOUNT": str(tmp_path / "account.json"),
    }
    account = {"private_key": "", "private_key_id": "", "client_email": "", "gcs_base_url": "http://127.0.0.1:1"}
    (tmp_path / "account.json").write_text(json.dumps({**account, "disable_oauth": True}), encoding="utf-8")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    given = StorageSettings(
        url=url, endpoint="http://127.0.0.1:1", allow_http=True, retries=0, timeout_seconds=2, connect_seconds=1
    )
    opened = open_storage(given, tmp_path)
    assert isinstance(opened, Objects)
    assert str(opened) == url.rstrip("/")
    with pytest.raises(Unavailable, match=f"{url.rstrip('/')} cannot be reached") as caught:
        opened.check()
    assert "secret-word" not in str(caught.value)


def test_a_client_that_cannot_be_made_tells_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a secret that is no base64")
    with pytest.raises(Misconfigured, match="az://container cannot be used; look at") as caught:
        open_storage(StorageSettings(url="az://container"), tmp_path)
    assert "a secret" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"url": "s3://key:secret@bucket/x"}, "credentials belong into the environment"),
        ({"url": "az://container?sig=secret"}, "credentials belong into the environment"),
        ({"endpoint": "https://key:secret@host"}, "credentials belong into the environment"),
        ({"url": "ftp://host/secret"}, "is not s3://bucket/prefix"),
        ({"url": "/mnt/secret"}, "is not s3://bucket/prefix"),
        ({"url": "file://mnt/secret"}, "three slashes"),
        ({"url": "file:///"}, "names no folder"),
        ({"url": "s3:///secret"}, "names no bucket"),
        ({"endpoint": "host:9000"}, "is not https://host"),
        ({"endpoint": "http://host"}, "set allow_http"),
        ({"timeout_seconds": 0}, "greater than or equal to 1"),
        ({"secret_access_key": "secret"}, "there is no such key"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_and_not_repeated(
    tmp_path: Path, values: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValidationError):
        StorageSettings(**values)
    config = example_config(tmp_path)
    lines = [f"{key} = {value if isinstance(value, int) else repr(value)}" for key, value in values.items()]
    (config / "ingestd.toml").write_text("\n".join(["[storage]", *lines, ""]), encoding="utf-8")
    with pytest.raises(Misconfigured, match=r"ingestd\.toml: storage") as caught:
        settings.read(config)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value).replace("secret_access_key", "")
