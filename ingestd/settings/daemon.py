"""`config/ingestd.toml`: the daemon. Every value can be overridden by the environment."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ingestd.settings.frozen import Frozen


class StoreSettings(Frozen):
    """`[store]`: where leads and the ledger live."""

    url: str = Field("", description="SQLAlchemy URL; empty: SQLite in the home folder")


class FtpSettings(Frozen):
    """`[ftp]`: the FTP door."""

    enabled: bool = Field(True, description="open the FTP door")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(2121, ge=0, le=65535, description="port to listen on; 0: any free one")
    passive_ports: tuple[int, int] | None = Field(None, description="first and last port for data connections")
    masquerade: str | None = Field(None, description="address told to clients behind a NAT")
    max_connections: int = Field(1100, ge=1, description="sessions at once")
    max_per_ip: int = Field(0, ge=0, description="sessions at once from one address; 0: no limit")
    idle_seconds: int = Field(300, ge=1, description="seconds without a command after which a session is closed")


class FolderSettings(Frozen):
    """`[folder]`: the watched drop folder."""

    enabled: bool = Field(True, description="watch the drop folder")
    path: str = Field("drop", description="the folder, relative to the home; one subfolder a source")
    scan_seconds: float = Field(1.0, gt=0, description="seconds between two scans; the scan is the truth")
    quiet_seconds: float = Field(2.0, ge=0, description="seconds without a change after which a file counts as whole")


class WorkerSettings(Frozen):
    """`[worker]`: the processes that load deliveries."""

    processes: int = Field(1, ge=1, le=64, description="loading processes")
    max_attempts: int = Field(5, ge=1, description="attempts before a delivery becomes a dead letter")
    retry_seconds: float = Field(2.0, ge=0, description="first pause before another attempt; it doubles each time")


class ResultSettings(Frozen):
    """`[results]`: what comes back to the partner."""

    keep_days: int = Field(30, ge=1, description="days that results stay in `results/`")


class DaemonSettings(BaseSettings):
    """`config/ingestd.toml`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="INGESTD_", env_nested_delimiter="__", env_ignore_empty=True
    )

    store: StoreSettings = StoreSettings()
    ftp: FtpSettings = FtpSettings()
    folder: FolderSettings = FolderSettings()
    worker: WorkerSettings = WorkerSettings()
    results: ResultSettings = ResultSettings()

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
