"""What operators write in `config/*.toml`, read once into frozen types.

Errors name the file, the key and the value. Values of `ingestd.toml` can be overridden by the environment:
`INGESTD_FTP__PORT=0` sets `port` under `[ftp]`.
"""

from ingestd.settings.configuration import Configuration, read
from ingestd.settings.daemon import DaemonSettings, FtpSettings, SftpSettings, StorageSettings, ThrottleSettings
from ingestd.settings.faults import misconfigured
from ingestd.settings.frozen import Frozen
from ingestd.settings.organisation import Campaign, Organisation, Project, Team, User, code_key
from ingestd.settings.sources import Proof, Source, SourceLimits, Sources, mapping_digest
from ingestd.settings.statuses import Status, Statuses

__all__ = [
    "Campaign",
    "Configuration",
    "DaemonSettings",
    "Frozen",
    "FtpSettings",
    "Organisation",
    "Project",
    "Proof",
    "SftpSettings",
    "Source",
    "SourceLimits",
    "Sources",
    "Status",
    "Statuses",
    "StorageSettings",
    "Team",
    "ThrottleSettings",
    "User",
    "code_key",
    "mapping_digest",
    "misconfigured",
    "read",
]
