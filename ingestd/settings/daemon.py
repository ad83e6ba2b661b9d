"""`config/ingestd.toml`: the daemon. Every value can be overridden by the environment."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ingestd.settings.frozen import Frozen

Port = Annotated[int, Field(ge=1, le=65535)]


def _ascending(ports: tuple[int, int]) -> tuple[int, int]:
    if ports[0] > ports[1]:
        raise ValueError(f"the first port, {ports[0]}, is above the last one, {ports[1]}")
    return ports


def _ipv4(address: str) -> str:
    try:
        return str(IPv4Address(address))
    except ValueError as problem:
        raise ValueError("is no IPv4 address; clients with IPv6 need none") from problem


def _store_url(value: str) -> str:
    """A URL of a database that ingestd knows; the reason never repeats it, since it may hold a password."""
    if value and urlsplit(value).scheme.partition("+")[0] not in ("sqlite", "postgresql"):
        raise ValueError("is neither sqlite:///file nor postgresql+psycopg://user:password@host/database")
    return value


class StoreSettings(Frozen):
    """`[store]`: where leads and the ledger live."""

    url: Annotated[str, AfterValidator(_store_url)] = Field(
        "", description="SQLAlchemy URL of SQLite or PostgreSQL; empty: SQLite in the home folder"
    )


class NodeSettings(Frozen):
    """`[node]`: this daemon among those that share a store."""

    name: str = Field(
        "",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,47})?$",
        description="its name in `ingestd status`, unlike that of any other that runs; empty: the host's",
    )


def _storage_url(value: str) -> str:
    """A URL of a kind that is known, and without a secret: the reasons never repeat it."""
    url = urlsplit(value)
    if url.username or url.password or url.query or url.fragment:
        raise ValueError("holds more than a place; credentials belong into the environment")
    if value and url.scheme not in ("s3", "gs", "az", "file"):
        raise ValueError("is not s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder")
    if url.scheme == "file" and (url.netloc or not url.path.strip("/")):
        raise ValueError("names no folder; write file:///folder, with three slashes")
    if url.scheme in ("s3", "gs", "az") and not url.netloc:
        raise ValueError("names no bucket")
    return value.rstrip("/")


def _endpoint(value: str) -> str:
    url = urlsplit(value)
    if url.username or url.password or url.query:
        raise ValueError("holds more than an address; credentials belong into the environment")
    if value and (url.scheme not in ("http", "https") or not url.netloc):
        raise ValueError("is not https://host")
    return value.rstrip("/")


class StorageSettings(Frozen):
    """`[storage]`: where received files and pool logs are kept for good; credentials are in the environment."""

    url: Annotated[str, AfterValidator(_storage_url)] = Field(
        "",
        description="`s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `file:///mount/folder`; "
        "empty: folders in the home",
    )
    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        "", description="address of the object store, such as `https://minio.example:9000`; empty: the cloud's own"
    )
    region: str = Field("", description="region of an S3 bucket; empty: `AWS_REGION`, or us-east-1")
    allow_http: bool = Field(False, description="let the endpoint be `http://`: files and signatures go in the clear")
    timeout_seconds: float = Field(
        30.0, ge=1, le=80, description="within which a file is put or read; else it is refused, and tried again later"
    )
    connect_seconds: float = Field(5.0, gt=0, description="seconds for one connection to be made")
    retries: int = Field(3, ge=0, description="further tries of one request, within `timeout_seconds`")

    @model_validator(mode="after")
    def _encrypted(self) -> StorageSettings:
        if self.endpoint.startswith("http:") and not self.allow_http:
            raise ValueError("endpoint is not encrypted; set allow_http to allow that")
        return self


class FtpSettings(Frozen):
    """`[ftp]`: the FTP door, with TLS on request (FTPS)."""

    enabled: bool = Field(True, description="open the FTP door")
    host: str = Field("127.0.0.1", description="address to listen on; `::` is every address, IPv6 and IPv4")
    port: int = Field(2121, ge=0, le=65535, description="port to listen on; 0: any free one")
    implicit_port: int | None = Field(
        None, ge=0, le=65535, description="port that speaks TLS from the first byte (FTPS as it once was); none: closed"
    )
    tls: Literal["off", "offered", "required"] = Field(
        "offered", description="`required` refuses logins and data in the clear; `off` is for trusted networks only"
    )
    passive_ports: Annotated[tuple[Port, Port], AfterValidator(_ascending)] | None = Field(
        None, description="first and last port for data connections"
    )
    masquerade: Annotated[str, AfterValidator(_ipv4)] | None = Field(
        None, description="IPv4 address told to clients behind a NAT"
    )
    max_connections: int = Field(1100, ge=1, description="sessions at once")
    idle_seconds: int = Field(300, ge=1, description="seconds without a command after which a session is closed")
    transfer_seconds: int = Field(60, ge=1, description="seconds without a byte after which a transfer is cut off")
    settle_seconds: float = Field(
        0.25,
        ge=0.05,
        le=5,
        description="seconds that an upload in the clear without `ALLO` waits for the death of its client to show; "
        "less is quicker for partners who send many small files, but may take a cut file for whole on a busy machine",
    )


class TlsSettings(Frozen):
    """`[tls]`: the certificate of the FTP door."""

    certificate: str = Field(
        "", description="PEM file with the chain, relative to the configuration; empty: a self-signed one in the home"
    )
    key: str = Field("", description="PEM file with the private key; empty: it is in the certificate's file")


class SftpSettings(Frozen):
    """`[sftp]`: the SFTP door."""

    enabled: bool = Field(True, description="open the SFTP door")
    host: str = Field("127.0.0.1", description="address to listen on; `::` is every address, IPv6 and IPv4")
    port: int = Field(2222, ge=0, le=65535, description="port to listen on; 0: any free one")
    host_key: str = Field(
        "", description="file with the private host key, relative to the configuration; empty: made at the first start"
    )
    max_connections: int = Field(500, ge=1, description="sessions at once")
    idle_seconds: int = Field(300, ge=1, description="seconds without a byte after which a session is closed")


class ThrottleSettings(Frozen):
    """`[throttle]`: what every door allows one address and one login."""

    max_per_address: int = Field(0, ge=0, description="sessions at once from one address; 0: no limit")
    delay_seconds: float = Field(
        1.0, ge=0, description="pause before the first wrong password is answered; it doubles with each further one"
    )
    longest_delay_seconds: float = Field(15.0, ge=0, description="the pause grows no longer than this")
    failures: int = Field(10, ge=1, description="wrong passwords after which an address or a login is banned")
    ban_seconds: int = Field(900, ge=1, description="seconds a ban lasts; wrong passwords are forgotten after as many")


def _address(value: str) -> str:
    try:
        ip_address(value)
    except ValueError:
        raise ValueError("is no IP address") from None
    return value


class HttpSettings(Frozen):
    """`[http]`: the API, and health and metrics for the machines that watch this one."""

    enabled: bool = Field(True, description="answer `/api/v1`, `/livez`, `/readyz` and `/metrics`")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0: any free one")
    proxies: tuple[Annotated[str, AfterValidator(_address)], ...] = Field(
        (), description="addresses of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed"
    )
    session_hours: float = Field(12.0, gt=0, description="hours after which who has logged in does so again")
    body_seconds: float = Field(
        60.0, gt=0, description="seconds of silence after which a body that is still coming is broken off with 408"
    )
    max_strangers: int = Field(
        25,
        ge=0,
        description="connections at once from one address that are heard although nobody has signed in or sent a key "
        "on them; others wait for one of these to end. 0: no limit; `proxies` have none",
    )
    idempotency_hours: float = Field(
        24.0, gt=0, description="hours for which a request with the same `Idempotency-Key` gets the same answer"
    )


class FolderSettings(Frozen):
    """`[folder]`: the watched drop folder."""

    enabled: bool = Field(True, description="watch the drop folder")
    path: str = Field("drop", description="the folder, relative to the home; one subfolder a source")
    scan_seconds: float = Field(1.0, gt=0, description="seconds between two scans; the scan is the truth")
    quiet_seconds: float = Field(2.0, ge=0, description="seconds without a change after which a file counts as whole")
    watch: Literal["events", "polling"] = Field(
        "events", description="`polling` for network mounts, where the system tells of no events"
    )
    after: Literal["done", "results", "leave"] = Field(
        "done",
        description="`done`: taken files go to `done/` or `rejected/` with their results; `results`: only the results "
        "come back, in `results/`; `leave`: files are never touched and no results are written beside them",
    )


class WorkerSettings(Frozen):
    """`[worker]`: the processes that load deliveries."""

    processes: int = Field(
        1,
        ge=1,
        le=64,
        description="loading processes, which share the processors; with several a large file holds up no small ones "
        "of other sources (those of one are loaded in order), and each takes up to 500 MB for a file of 35 MB",
    )
    max_attempts: int = Field(5, ge=1, description="attempts before a delivery becomes a dead letter")
    retry_seconds: float = Field(2.0, ge=0, description="first pause before another attempt; it doubles each time")
    dead_seconds: float = Field(
        12.0,
        ge=2,
        le=25,
        description="seconds of silence after which a worker counts as dead and another one takes its delivery over; "
        "PostgreSQL only, where workers are on many machines",
    )


class ResultSettings(Frozen):
    """`[results]`: what comes back to the partner."""

    keep_days: int = Field(30, ge=1, description="days that results stay in `results/`, `done/` and `rejected/`")


class WebhookSettings(Frozen):
    """`[webhooks]`: how programs of others are told what happens."""

    allow_private: bool = Field(
        False,
        description="also send to private, loopback and link-local addresses; whoever may make webhooks could then "
        "have this machine speak to every other one of its network",
    )
    timeout_seconds: float = Field(15.0, ge=1, le=50, description="within which an endpoint has to answer")
    keep_days: int = Field(30, ge=1, description="days that messages and their attempts are kept")


class OwnerChangeSettings(Frozen):
    """`[owner_changes]`: what is kept about changes of owners."""

    keep_days: int = Field(
        90,
        ge=1,
        description="days that the fate of each lead is kept after a change has ended; its counts, the history of the "
        "leads and the audit stay",
    )


class StopSettings(Frozen):
    """`[stop]`: how the daemon ends."""

    transfer_seconds: int = Field(30, ge=1, description="seconds that running transfers may take after a stop")
    load_seconds: int = Field(60, ge=1, description="seconds that running loads may take after a stop")


class WatchSettings(Frozen):
    """`[watch]`: when a loop of the daemon counts as stuck."""

    late_seconds: float = Field(
        10.0, ge=2, description="seconds without an advance after which systemd's watchdog is no longer fed"
    )
    stuck_seconds: float = Field(
        30.0, ge=2, description="seconds without an advance after which the process is killed and replaced"
    )

    @model_validator(mode="after")
    def _in_order(self) -> WatchSettings:
        if self.stuck_seconds < self.late_seconds:
            raise ValueError("stuck_seconds is less than late_seconds")
        return self


class DaemonSettings(BaseSettings):
    """`config/ingestd.toml`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="INGESTD_", env_nested_delimiter="__", env_ignore_empty=True
    )

    store: StoreSettings = StoreSettings()
    node: NodeSettings = NodeSettings()
    storage: StorageSettings = StorageSettings()
    ftp: FtpSettings = FtpSettings()
    tls: TlsSettings = TlsSettings()
    sftp: SftpSettings = SftpSettings()
    throttle: ThrottleSettings = ThrottleSettings()
    http: HttpSettings = HttpSettings()
    folder: FolderSettings = FolderSettings()
    worker: WorkerSettings = WorkerSettings()
    results: ResultSettings = ResultSettings()
    webhooks: WebhookSettings = WebhookSettings()
    owner_changes: OwnerChangeSettings = OwnerChangeSettings()
    stop: StopSettings = StopSettings()
    watch: WatchSettings = WatchSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which is passed in as `init_settings`."""
        return env_settings, init_settings
