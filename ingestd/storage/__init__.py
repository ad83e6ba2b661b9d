"""Where received files and pool logs are kept for good: a folder, or an object store (obstore), by one URL."""

from ingestd.storage.contract import Found, NewFolder, Storage
from ingestd.storage.folder import Folder
from ingestd.storage.location import open_storage
from ingestd.storage.objects import Objects

__all__ = ["Folder", "Found", "NewFolder", "Objects", "Storage", "open_storage"]
