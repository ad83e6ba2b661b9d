"""From the setting to the storage: `s3://`, `gs://`, `az://`, `file://`, or the home.

Credentials are never in the settings. Each client finds them as its cloud's own programs do: in the environment, in
files that the environment names, or from the machine it runs on.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from ingestd.errors import Misconfigured
from ingestd.settings import StorageSettings
from ingestd.storage.contract import Storage
from ingestd.storage.folder import Folder
from ingestd.storage.objects import Client, Objects

if TYPE_CHECKING:  # they exist for type checkers only
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig, S3Config


def open_storage(settings: StorageSettings, home: Path) -> Storage:
    """The storage of a home; asks nobody, so it raises Misconfigured only. `check` and `claim` ask."""
    if not settings.url:
        return Folder(home)
    url = urlsplit(settings.url)
    if url.scheme == "file":
        place = Path(unquote(url.path))
        return Folder(place, mount=place)
    prefix = url.path.strip("/") or None
    try:
        client = _client(url.scheme, url.netloc, prefix, settings)
    except (BaseError, ValueError, TypeError):  # its words may hold what it found in the environment
        told = f"{settings.url} cannot be used; look at storage.endpoint and at the credentials in the environment"
        raise Misconfigured("ingestd.toml", "storage.url", told) from None
    return Objects(client=client, url=settings.url.rstrip("/"), seconds=settings.timeout_seconds)


def _client(scheme: str, bucket: str, prefix: str | None, settings: StorageSettings) -> Client:
    options, retry = _options(settings), _retry(settings)
    endpoint = settings.endpoint
    if scheme == "s3":
        # What is left out is looked for in the environment.
        place: S3Config = {}
        if endpoint:
            place["endpoint"] = endpoint
        if settings.region:
            place["region"] = settings.region
        return S3Store(bucket, prefix=prefix, config=place, client_options=options, retry_config=retry)
    if scheme == "gs":
        base: GCSConfig = {"base_url": endpoint} if endpoint else {}
        return GCSStore(bucket, prefix=prefix, config=base, client_options=options, retry_config=retry)
    there: AzureConfig = {"endpoint": endpoint} if endpoint else {}
    return AzureStore(bucket, prefix=prefix, config=there, client_options=options, retry_config=retry)


def _options(settings: StorageSettings) -> ClientConfig:
    return {
        "allow_http": settings.allow_http,
        "timeout": timedelta(seconds=settings.timeout_seconds),
        "connect_timeout": timedelta(seconds=settings.connect_seconds),
    }


def _retry(settings: StorageSettings) -> RetryConfig:
    return {
        "max_retries": settings.retries,
        "retry_timeout": timedelta(seconds=settings.timeout_seconds),
        "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
    }
