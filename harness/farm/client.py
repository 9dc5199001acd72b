"""A farm as a run sees it: which devices there are, where they are, and which networks their workers have."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from distributed import Client

from device.errors import DeviceNotChosen, DeviceUnavailable
from device.open import ALL, canonical, one_name_each
from device.probe import Identity
from export.artifact import MANIFEST_NAME, Artifact
from harness.farm import store
from harness.farm.connect import reason
from harness.farm.worker import RESOURCE, identities

_LOOK_EVERY_S = 1.0


class WorkerLost(DeviceUnavailable):
    """The worker that had the device is no longer there, or says nothing."""

    status = "worker_lost"


@dataclass(frozen=True)
class Place:
    """Where a device is: the worker's address and name, and what the worker announces it as."""

    address: str
    worker: str
    resource: str

    @property
    def full_name(self) -> str:
        return self.resource.removeprefix(RESOURCE)

    @property
    def local_name(self) -> str:
        return self.full_name.partition("@")[0]


NOWHERE = Place("", "", "")


class Farm:
    """A farm's devices, by the client of its scheduler at `address`."""

    def __init__(self, client: Client, address: str) -> None:
        self.client, self.address = client, address
        self._places: tuple[Place, ...] = ()
        self._looked_s = float("-inf")
        self._looking = threading.Lock()
        self._sending: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @property
    def places(self) -> tuple[Place, ...]:
        """Where devices are, as of a second ago at most; nowhere when the scheduler is gone."""
        with self._looking:
            if time.monotonic() - self._looked_s > _LOOK_EVERY_S:
                workers: dict[str, Any] = {}
                with contextlib.suppress(Exception):  # Dask's own, of many kinds
                    workers = self.client.scheduler_info(n_workers=-1)["workers"]
                self._places = tuple(
                    Place(address, str(info["name"]), name)
                    for address, info in workers.items()
                    for name in info["resources"]
                    if name.startswith(RESOURCE)
                )
                self._looked_s = time.monotonic()
            return self._places

    def look(self) -> tuple[Place, ...]:
        """Where devices are now."""
        self._looked_s = float("-inf")
        return self.places

    @property
    def devices(self) -> dict[str, Place]:
        """The devices there are now, by name: NAME@WORKER for those that several workers have."""
        places = self.places
        count = Counter(place.local_name for place in places)
        return {place.local_name if count[place.local_name] == 1 else place.full_name: place for place in places}

    def choose(self, named: Sequence[str], say: Callable[[str], None] = lambda _: None) -> tuple[str, ...]:
        """The devices to use: those named, all, or the only one; `say` hears of one that workers have under two names.

        Raises DeviceNotChosen, DeviceUnavailable.
        """
        found = sorted(self.devices)
        listed = ", ".join(found)
        if not found:
            raise DeviceUnavailable(f"the farm at {self.address} has no devices; `tenpass farm worker` adds some")
        if not named and len(found) > 1:
            raise DeviceNotChosen(f"the farm has several devices; name some with --device, or {ALL}: {listed}")
        asked = [name if name in found else canonical(name) for name in named]
        wanted = [one for name in asked or found for one in (found if name == ALL else [name])]
        known = {*found, *(place.full_name for place in self.places)}
        if unknown := [name for name in wanted if name not in known]:
            raise DeviceUnavailable(f"the farm has no device {unknown[0]!r}; it has {listed}")
        names = tuple(dict.fromkeys(wanted))
        return one_name_each(names, self._identities(names), named, say) if len(names) > 1 else names

    def _identities(self, names: Sequence[str]) -> dict[str, Identity | None]:
        """What each of these devices says it is now, as far as its worker answers."""
        said: dict[str, Identity | None] = {}
        for answer in self.client.run(identities, on_error="ignore").values():
            said |= answer
        places = {name: self.find(name, NOWHERE) for name in names}
        return {name: said.get(place.full_name) if place else None for name, place in places.items()}

    def find(self, device: str, last: Place) -> Place | None:
        """Where a device is now; of several with its name, where it was last. None: nowhere, or nobody knows which."""
        found = [place for place in self.places if device in (place.full_name, place.local_name)]
        again = [place for place in found if place.worker == last.worker]
        return again[0] if again else found[0] if len(found) == 1 else None

    def send(self, network: Artifact, place: Place, on_step: Callable[[str], None]) -> str:
        """Puts a network into the store of this place's worker, if it lacks it; what it is called there.

        Raises WorkerLost.
        """
        name = store.name_of(network)
        files = {MANIFEST_NAME, *(file.name for file in network.files)}
        try:
            with self._sending[place.address]:  # one after the other: the devices of a worker share its store
                if self.client.run(store.lacks, name, workers=[place.address])[place.address]:
                    on_step(f"{network.model} to {place.worker}")
                    content = {file: (network.folder / file).read_bytes() for file in files}
                    self.client.run(store.put, name, content, workers=[place.address])
        except Exception as error:  # Dask's own, of many kinds
            raise WorkerLost(f"worker {place.worker} takes no files ({reason(error)})") from None
        return name
