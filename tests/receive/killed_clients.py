"""Clients to be killed: `python -m tests.receive.killed_clients PORT PASSWORD COUNT plain|tls`.

Each is a process of its own that has sent half a file. Their numbers are printed when all have; then they wait.
"""

from __future__ import annotations

import ftplib
import os
import ssl
import sys
import time
from typing import Any


def send_half(port: int, password: str, tls: bool) -> Any:
    ftp = ftplib.FTP_TLS(context=ssl._create_unverified_context(), encoding="utf-8") if tls else ftplib.FTP()
    ftp.encoding = "utf-8"
    ftp.connect("127.0.0.1", port, timeout=20)
    ftp.login("acme", password)
    if isinstance(ftp, ftplib.FTP_TLS):
        ftp.prot_p()
    data = ftp.transfercmd(f"STOR killed-{os.getpid()}.csv")
    data.sendall(b"half,a,row" * 5000)
    return ftp, data


def main(port: str, password: str, count: str, kind: str) -> None:
    ready, told = os.pipe()
    children = []
    for _ in range(int(count)):
        child = os.fork()
        if child == 0:
            kept_open = send_half(int(port), password, kind == "tls")
            os.write(told, b"!")
            time.sleep(60)
            del kept_open
            os._exit(1)
        children.append(child)
    for _ in children:
        os.read(ready, 1)
    sys.stdout.write(" ".join(map(str, children)) + "\n")
    sys.stdout.flush()
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
