"""The sources as the receiver has them: read from the store, and again whenever another version was applied to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection, Engine

from ingestd.accounts import Account
from ingestd.errors import Unavailable
from ingestd.settings import Source
from ingestd.store import organisation
from ingestd.store.engine import reading

log = structlog.get_logger()

Listener = Callable[[Sequence[Source]], None]


@dataclass(kw_only=True)
class Feeds:
    """Every active source, with who wants to know when they change."""

    engine: Engine
    version: tuple[int, ...] = ()
    sources: list[Source] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)
    away: bool = False

    @classmethod
    def read(cls, engine: Engine) -> Feeds:
        """The sources as they are now; raises Unavailable."""
        feeds = cls(engine=engine)
        feeds.version, feeds.sources = feeds._latest()
        return feeds

    def on_change(self, listener: Listener) -> None:
        """Is called with all sources after they changed, in the order in which listeners came."""
        self.listeners.append(listener)

    def look(self) -> bool:
        """Reads the sources again if another version is there, and tells the listeners; True when it did."""
        try:
            if self._latest_version() == self.version:
                self.away = False
                return False
            version, sources = self._latest()
        except Unavailable as problem:
            if not self.away:
                log.warning("sources_not_read", error=str(problem))
            self.away = True
            return False
        before, self.version, self.sources, self.away = self.sources, version, sources, False
        for listener in self.listeners:
            listener(sources)
        log.info("sources_reloaded", sources=len(sources), **_differences(accounts(before), accounts(sources)))
        return True

    def _latest_version(self) -> tuple[int, ...]:
        with reading(self.engine) as connection:
            return _version(connection)

    def _latest(self) -> tuple[tuple[int, ...], list[Source]]:
        """Both as of one moment."""
        with reading(self.engine) as connection:
            return _version(connection), organisation.all_sources(connection)


def _version(connection: Connection) -> tuple[int, ...]:
    """What changes with every import that changed something."""
    return tuple(organisation.version(connection, kind) for kind in ("organisation", "sources"))


def accounts(sources: Iterable[Source]) -> list[Account]:
    """Every login of every source."""
    return [
        Account(
            login=login.login,
            source=source.name,
            password_hash=login.password_hash or "",
            public_keys=login.public_keys,
            protocols=frozenset(login.protocols),
            limit=source.limits.max_file_bytes,
        )
        for source in sources
        for login in source.login
    ]


def _differences(before: Iterable[Account], after: Iterable[Account]) -> dict[str, int]:
    old, new = {each.login: each for each in before}, {each.login: each for each in after}
    return {
        "logins_added": len(new.keys() - old.keys()),
        "logins_removed": len(old.keys() - new.keys()),
        "logins_changed": sum(old[login] != new[login] for login in old.keys() & new.keys()),
    }
