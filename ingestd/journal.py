"""The operator's log: one event a line on stderr, JSON for machines, plain text on a terminal.

Every event has `timestamp` (UTC), `level`, `event` and `process`, also the last one of a process that ends by a bug.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


def configure(process: str = "ingestd", *, count: Processor | None = None) -> None:
    """Sets structlog up for this process; `count` sees every event before it is written."""
    terminal = sys.stderr.isatty()

    def signed(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {"process": process, **event}

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            signed,
            *([count] if count else []),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


def log_crashes() -> None:
    """Writes what no code caught as an event, in the main thread and in others."""
    sys.excepthook = _crashed
    threading.excepthook = lambda crash: _crashed(crash.exc_type, crash.exc_value, crash.exc_traceback)


def _crashed(kind: type[BaseException], problem: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    structlog.get_logger().critical("process_fault", exc_info=(kind, problem, trace))
