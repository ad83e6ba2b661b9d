"""Takes from a program what systemd/ingestd.service takes, without systemd: `python -m tests.confinement COMMAND…`.

The filters of system calls and of executable memory are built as systemd 252 builds them, from the unit's own lines and
by the same library; `/proc` shows processes alone where the caller may mount it so.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

UNIT = Path(__file__).parents[1] / "systemd" / "ingestd.service"

ALLOW, FORBID = 0x7FFF0000, 0x00050000 | 1  # SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(EPERM); seccomp_init(3)
MASKED_EQUAL = 7  # SCMP_CMP_MASKED_EQ
UNKNOWN = -1  # __NR_SCMP_ERROR: a call of another architecture
WRITE, EXECUTE = 2, 4  # PROT_WRITE, PROT_EXEC; mmap(2)
CLONE_NEWNS, MS_REC_PRIVATE = 0x00020000, 0x4000 | 0x40000


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp: what a call's argument is compared with."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


def words(key: str) -> list[str]:
    """Every value of a key of the unit."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]


def calls(names: Iterable[str]) -> set[str]:
    """Groups such as @system-service as the calls that they mean."""
    found: set[str] = set()
    for name in names:
        if not name.startswith("@"):
            found.add(name)
            continue
        command = ["systemd-analyze", "--no-pager", "syscall-filter", name]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        lines = (line.strip() for line in told.splitlines()[1:])
        found |= calls(line for line in lines if line and not line.startswith("#"))
    return found


def allowed() -> set[str]:
    """What SystemCallFilter= leaves."""
    kept: set[str] = set()
    for line in words("SystemCallFilter"):
        if line.startswith("~"):
            kept -= calls(line[1:].split())
        else:
            kept |= calls(line.split())
    return kept


class Filter:
    """One seccomp filter."""

    def __init__(self, otherwise: int) -> None:
        self.library = ctypes.CDLL("libseccomp.so.2")
        self.library.seccomp_init.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.library.seccomp_init(otherwise))

    def rule(self, action: int, call: str, *comparisons: Comparison) -> None:
        """What becomes of a call, when its arguments are so."""
        number = self.library.seccomp_syscall_resolve_name(call.encode())
        if number == UNKNOWN:
            return
        array = (Comparison * len(comparisons))(*comparisons)
        done = self.library.seccomp_rule_add_array(self.context, action, number, len(comparisons), array)
        assert done == 0, f"{call}: {os.strerror(-done)}"

    def load(self) -> None:
        """Holds from here on, for children too; sets no_new_privs."""
        done = self.library.seccomp_load(self.context)
        assert done == 0, os.strerror(-done)


def forbid_other_calls() -> None:
    """SystemCallFilter="""
    kept = Filter(FORBID)
    for call in sorted(allowed()):
        kept.rule(ALLOW, call)
    kept.load()


def forbid_writable_code() -> None:
    """MemoryDenyWriteExecute="""
    memory = Filter(ALLOW)
    both = WRITE | EXECUTE
    memory.rule(FORBID, "mmap", Comparison(2, MASKED_EQUAL, both, both))
    for call in ("mprotect", "pkey_mprotect"):
        memory.rule(FORBID, call, Comparison(2, MASKED_EQUAL, EXECUTE, EXECUTE))
    memory.load()


def hide_the_rest_of_proc() -> None:
    """ProcSubset=pid, where this process may mount; a container's root often may not."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        return
    for done in (
        libc.mount(None, b"/", None, MS_REC_PRIVATE, None),
        libc.mount(b"proc", b"/proc", b"proc", 0, b"subset=pid"),
    ):
        assert done == 0, os.strerror(ctypes.get_errno())


def environment() -> dict[str, str]:
    """What Environment= adds."""
    return dict(pair.split("=", 1) for line in words("Environment") for pair in line.split())


if __name__ == "__main__":
    hide_the_rest_of_proc()
    assert words("MemoryDenyWriteExecute") == ["yes"]
    forbid_writable_code()
    forbid_other_calls()
    os.execve(sys.argv[1], sys.argv[1:], {**environment(), **os.environ})
