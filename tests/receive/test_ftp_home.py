"""The partner's home by FTP: listings tell nothing of this machine."""

from __future__ import annotations

from pathlib import Path

from tests.receive.ftp_wire import client
from tests.receive.receiving import OpenDoor


def test_listings_show_neither_owner_nor_mode(door: OpenDoor) -> None:
    """The same as by SFTP, whatever is on the disk."""
    with client(door) as ftp:
        odd = door.homes / "acme/results/x.csv.log.csv"
        odd.write_bytes(b"12345")
        odd.chmod(0o6750)
        Path(door.homes / "acme/upload").chmod(0o1700)
        shown: list[str] = []
        ftp.retrlines("LIST /", shown.append)
        ftp.retrlines("LIST /results", shown.append)
        assert {line.split()[-1]: line.split()[:5] for line in shown} == {
            "results": ["drwxr-xr-x", "1", "partner", "partner", "0"],
            "upload": ["drwxr-xr-x", "1", "partner", "partner", "0"],
            "x.csv.log.csv": ["-rw-r--r--", "1", "partner", "partner", "5"],
        }
        facts = dict(ftp.mlsd("/results", ["type", "size", "modify", "unix.mode", "unix.uid", "unix.gid"]))
        told = facts["x.csv.log.csv"]
        assert (told["unix.mode"], told["unix.uid"], told["unix.gid"]) == ("0o644", "0", "0")
        assert (told["type"], told["size"]) == ("file", "5")
