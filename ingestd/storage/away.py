"""What an object store's problems are called here.

The words of obstore are not passed on: they hold what the store answered, and that may be the access key and the text
that was signed with the secret one.
"""

from __future__ import annotations

import errno
import re

from obstore.exceptions import AlreadyExistsError, BaseError, GenericError, PermissionDeniedError, UnauthenticatedError

from ingestd.errors import Unavailable

_STATUS = re.compile(r"status code: (\d{3}(?: [A-Z][a-z]+)*)")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_KIND = re.compile(r"kind: (\w+),\s*source: reqwest")
_SYSTEM = re.compile(r"code: \d+,\s*kind: (\w+)")

_FULL = {"XMinioStorageFull", "InsufficientStorage", "InsufficientCapacity", "ServiceQuotaExceeded"}
_QUOTA = {"QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "EntityTooLarge"}
"""Codes of S3 servers; those of Swift and Ceph too. Files are far smaller than what one put may have."""
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "AccountNotFound"}

Foreign = (BaseError, OSError)
"""All that obstore raises, and the time that is over: TimeoutError is an OSError."""


class Taken(Unavailable):
    """There is a file of that key already, and nothing is overwritten."""


class Missing(Unavailable):
    """There is no file of that key, if there is a bucket."""


class Forbidden(Unavailable):
    """The object store does not know us, or does not let us."""


class NoBucket(Unavailable):
    """There is no such bucket."""


class Unreachable(Unavailable):
    """The object store does not answer at all."""


def translated(problem: Exception, url: str, seconds: float) -> Unavailable | OSError:
    """What is raised instead."""
    if isinstance(problem, TimeoutError):
        return Unreachable(f"{url} has not answered within {seconds:g} s")
    if isinstance(problem, AlreadyExistsError):
        return Taken(f"{url} has a file of that key already; nothing is overwritten")
    text = str(problem)
    status, code = _first(_STATUS, text), _first(_CODE, text)
    told = " ".join(part for part in (status, f"({code})" if code else "") if part)
    if status.startswith("507") or code in _FULL | _QUOTA:
        return OSError(errno.EDQUOT if code in _QUOTA else errno.ENOSPC, f"{url} takes no more: {told}")
    if status or not isinstance(problem, GenericError):
        return _answered(problem, url, told, code)
    why = _first(_SYSTEM, text) or _first(_KIND, text) or "no credentials, or no connection"
    return Unreachable(f"{url} cannot be reached: {why}")


def _answered(problem: Exception, url: str, told: str, code: str) -> Unavailable:
    if code in _NO_BUCKET:
        return NoBucket(f"{url} is not there: {told}")
    if isinstance(problem, FileNotFoundError):
        return Missing(f"{url} has no such file: {told}")
    # A listing that is refused comes as a problem of no kind.
    if isinstance(problem, (PermissionDeniedError, UnauthenticatedError)) or told.startswith(("401", "403")):
        return Forbidden(f"{url} does not let us: {told or 'credentials are missing or wrong'}")
    return Unavailable(f"{url} answers {told or type(problem).__name__}")


def advice(problem: Exception) -> str:
    """What an operator may do about it."""
    for kind, told in _ADVICE.items():
        if isinstance(problem, kind):
            return told
    return "look at the object store"


_ADVICE: dict[type[Exception], str] = {
    Unreachable: "look at storage.endpoint, at the network and whether the credentials are in the environment",
    Forbidden: "look at the credentials in the environment, and at what they may do (docs/operations.md)",
    NoBucket: "make the bucket first",
    OSError: "make room there, or raise the quota",
}


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""
