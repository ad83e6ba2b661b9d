"""A real S3 server for the tests: OpenStack Swift with its `s3api`, all its parts in one process on loopback.

    python tests/s3_server.py FOLDER PORT

Everything it keeps is below FOLDER, whose file system needs extended attributes. It needs no root, no memcached and no
ring builder: three rings with one device on one port each.
"""

from __future__ import annotations

import sys
import warnings
from array import array
from pathlib import Path

warnings.simplefilter("ignore")  # eventlet tells that it is not for new projects

import eventlet  # noqa: E402

eventlet.monkey_patch()

from eventlet import wsgi  # noqa: E402
from swift.common import utils  # noqa: E402
from swift.common.ring import RingData  # noqa: E402
from swift.common.storage_policy import reload_storage_policies  # noqa: E402
from swift.common.utils.logs import NullLogger  # noqa: E402
from swift.common.wsgi import SwiftHttpProtocol, loadapp  # noqa: E402

SECRET = "a-secret-of-the-tests"
"""Of the one user, test:tester; also in tests/s3.py, which must not import eventlet."""

DOOR = "catch_errors cache s3api tempauth copy container-quotas slo dlo proxy-server"
"""What partners of the server pass; whoever sets a quota needs no login, and is told the port in FOLDER/inside."""

SWIFT = "[swift-hash]\nswift_hash_path_suffix = tests\n"
STORAGE = """\
[DEFAULT]
devices = {folder}
mount_check = false
swift_dir = {folder}
log_level = CRITICAL
[app:main]
use = egg:swift#{kind}
fallocate_reserve = 0
"""
PROXY = """\
[DEFAULT]
swift_dir = {folder}
log_level = CRITICAL
[pipeline:main]
pipeline = {pipeline}
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
[filter:s3api]
use = egg:swift#s3api
min_segment_size = 1
[filter:copy]
use = egg:swift#copy
[filter:container-quotas]
use = egg:swift#container_quotas
[filter:slo]
use = egg:swift#slo
minimum_segment_size = 1
[filter:dlo]
use = egg:swift#dlo
"""


def _ring(folder: Path, name: str, port: int) -> None:
    device = {"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "disk", "weight": 1.0,
              "meta": "", "replication_ip": "127.0.0.1", "replication_port": port}  # fmt: skip
    RingData([array("H", [0])], [device], 32).save(str(folder / f"{name}.ring.gz"))


def _serve(listening: eventlet.greenio.GreenSocket, app: object) -> None:
    options = {"capitalize_response_headers": False, "socket_timeout": 60, "protocol": SwiftHttpProtocol}
    wsgi.server(listening, app, NullLogger(), **options)


def _open(folder: Path, listening: eventlet.greenio.GreenSocket, pipeline: str) -> None:
    conf = folder / f"proxy-{listening.getsockname()[1]}.conf"
    conf.write_text(PROXY.format(folder=folder, secret=SECRET, pipeline=pipeline), encoding="utf-8")
    eventlet.spawn(_serve, listening, loadapp(str(conf), {"log_name": "proxy"}))


def main(folder: Path, port: int) -> None:
    """Starts the four servers; ends with the pipe of its standard input, and so with whoever started it."""
    (folder / "disk").mkdir(exist_ok=True)
    (folder / "swift.conf").write_text(SWIFT, encoding="utf-8")
    utils.set_swift_dir(str(folder))
    reload_storage_policies()
    sockets = {kind: eventlet.listen(("127.0.0.1", 0)) for kind in ("account", "container", "object")}
    for kind, listening in sockets.items():
        _ring(folder, kind, listening.getsockname()[1])
        conf = folder / f"{kind}.conf"
        conf.write_text(STORAGE.format(folder=folder, kind=kind), encoding="utf-8")
        eventlet.spawn(_serve, listening, loadapp(str(conf), {"log_name": kind}))
    inside = eventlet.listen(("127.0.0.1", 0))
    _open(folder, inside, "catch_errors proxy-server")
    (folder / "inside").write_text(f"http://127.0.0.1:{inside.getsockname()[1]}", encoding="ascii")
    _open(folder, eventlet.listen(("127.0.0.1", port)), DOOR)
    eventlet.hubs.trampoline(sys.stdin.fileno(), read=True)  # a read would hold up the servers


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
