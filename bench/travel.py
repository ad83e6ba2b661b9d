"""One delivery down the road, alone in a process: from its beginning until after its commit.

The ledger's own `finished_at` is taken inside the loading transaction, so it leaves out the commit, which is most of
what makes a load durable. Prints JSON, the fields of `bench.road.Run`.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from pathlib import Path

from ingestd.house import House, open_house
from ingestd.model import Arrival, State
from ingestd.preparing import prepare_store
from ingestd.receive.landing import Landing
from ingestd.worker import road_of

ROOT = Path(__file__).parents[1]
SOURCE = "nordlead"


def main(home: str, file: str) -> None:
    """Lands the file in the home, and loads it."""
    house = open_house(ROOT / "config", Path(home))
    prepare_store(house)
    delivery_id = landed(house, Path(file))
    begun, spent, written = time.perf_counter(), time.process_time(), written_mib()
    road_of(house).travel(delivery_id)
    seconds, spent, written = time.perf_counter() - begun, time.process_time() - spent, written_mib() - written
    delivery = house.ledger.get(delivery_id)
    assert delivery is not None
    assert delivery.state is State.COMPLETED, f"{delivery.state}: {delivery.reason}"
    told = {"seconds": seconds, "stages": json.loads(delivery.timings), "peak_mib": peak_mib()}
    print(json.dumps({**told, "processor": spent, "written_mib": written}))


def landed(house: House, file: Path) -> int:
    """The number of the delivery that a file has become."""
    landing = Landing(house.spool, house.ledger, ring=lambda: None)
    with closing(landing.open(file.stat().st_size)) as incoming:
        incoming.write(file.read_bytes())
        arrival = Arrival(source=SOURCE, login=SOURCE, peer="local", protocol="import", name=file.name)
        delivery_id = landing.accept(incoming, arrival).delivery_id
    assert delivery_id is not None
    return delivery_id


def peak_mib() -> float:
    """Of this process alone; getrusage would count its parent's memory as its own."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def written_mib() -> float:
    """What this process has had written to disk so far."""
    line = next(line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("write_bytes"))
    return int(line.split()[1]) / 2**20


if __name__ == "__main__":
    main(*sys.argv[1:])
