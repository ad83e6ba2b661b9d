"""The S3 server of the tests, started, stopped and started again: see `tests/s3_server.py`."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import S3Store

from ingestd.settings import StorageSettings
from ingestd.storage import Storage, open_storage
from tests.running import until

ROOT = Path(__file__).parents[1]
KEY, SECRET = "test:tester", "a-secret-of-the-tests"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}


class S3:
    """A private S3 server in a temporary folder. Its buckets survive a stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.buckets = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """It ends when its standard input does, so also with a test run that is killed."""
        command = [sys.executable, str(ROOT / "tests/s3_server.py"), str(self.folder), str(self.port)]
        with (self.folder / "log").open("ab") as told:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=told, stderr=told)
        until(self._answers, f"the S3 server; {(self.folder / 'log').read_text()[-2000:]}", seconds=30)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()[-4000:]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status > 0
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        if self.process is None:
            return
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process = None

    @contextmanager
    def away(self) -> Iterator[None]:
        """The server is gone, and comes back on the same port."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def new_bucket(self, quota: int | None = None) -> str:
        """The name of a fresh bucket, which takes so many bytes."""
        self.buckets += 1
        name = f"leads-{os.getpid()}-{self.buckets}"
        _ask("PUT", obstore.sign(self.client(name), "PUT", "", timedelta(minutes=1)), {})
        if quota is not None:  # by Swift's own door: S3 has no word for it
            inside = (self.folder / "inside").read_text(encoding="ascii")
            _ask("POST", f"{inside}/v1/AUTH_test/{name}", {"X-Container-Meta-Quota-Bytes": str(quota)})
        return name

    def client(self, bucket: str) -> S3Store:
        """As anybody sees the bucket."""
        return S3Store(
            bucket,
            endpoint=self.endpoint,
            access_key_id=KEY,
            secret_access_key=SECRET,
            client_options={"allow_http": True},
        )

    def objects(self, bucket: str) -> list[str]:
        """The keys of everything in a bucket."""
        return sorted(each["path"] for each in obstore.list(self.client(bucket)).collect())

    def settings(self, bucket: str, **values: Any) -> StorageSettings:
        """As in `[storage]`."""
        known = {"url": f"s3://{bucket}/ingestd", "endpoint": self.endpoint, "allow_http": True, "timeout_seconds": 5}
        return StorageSettings(**{**known, **values})

    def environment(self, bucket: str, **values: Any) -> dict[str, str]:
        """The same for a daemon."""
        given = self.settings(bucket, **values).model_dump()
        return {**{f"INGESTD_STORAGE__{name.upper()}": str(value) for name, value in given.items()}, **CREDENTIALS}

    def storage(self, bucket: str, secret: str = SECRET, **values: Any) -> Storage:
        """A storage as a home opens it."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**CREDENTIALS, "AWS_SECRET_ACCESS_KEY": secret}.items():
                patch.setenv(name, value)
            return open_storage(self.settings(bucket, **values), Path())


def _ask(method: str, url: str, headers: dict[str, str]) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers)) as answer:
        assert answer.status < 300
