"""Starts one program that outlives its caller, under another user if asked to.

Stand-alone and standard library only: run as `python -I -S launcher.py` with a JSON order on
stdin. The program gets a session of its own, so that no terminal and no parent can take it down
by accident; the launcher prints its process id and ends.
"""

import ctypes
import json
import os
import sys
from typing import Any

# linux/prctl.h and linux/capability.h
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilityWord(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def become(uid: int, gid: int) -> None:
    """Give up root for this user, keeping only the right to pass through closed folders.

    PostgreSQL refuses to run as root, yet root's clone may lie below a folder that only root may
    enter, such as its home. One ambient capability lets the other user through and nothing more
    is opened. Where the system grants no capability, the program has to do without.
    """
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    capability = _capability_to_keep(libc) if libc else None
    if libc and capability is not None:
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        # Without this bit access(2), which initdb relies on, ignores what we keep
        libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if libc and capability is not None:
        _keep(libc, capability)


def _capability_to_keep(libc: ctypes.CDLL) -> int | None:
    """The narrower right if we hold it; default containers only hold the wider one."""
    words = (_CapabilityWord * 2)()
    if libc.capget(ctypes.byref(_CapabilityHeader(CAPABILITY_VERSION_3, 0)), words) != 0:
        return None
    for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        if words[0].permitted & (1 << capability):
            return capability
    return None


def _keep(libc: ctypes.CDLL, capability: int) -> None:
    bit = 1 << capability
    words = (_CapabilityWord * 2)(_CapabilityWord(bit, bit, bit), _CapabilityWord(0, 0, 0))
    if libc.capset(ctypes.byref(_CapabilityHeader(CAPABILITY_VERSION_3, 0)), words) == 0:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def execute(order: dict[str, Any]) -> None:
    """Become the program of the order; returns never, or raises OSError."""
    os.chdir(order["cwd"])
    os.umask(0o077)
    if order["user"]:
        become(*order["user"])
    os.execve(order["argv"][0], order["argv"], order["environment"])


def start(order: dict[str, Any]) -> int:
    """Start the program in a new session with its output in the log file; its process id."""
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    told, tell = os.pipe()  # closed by a successful exec, or carries why it failed
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            for source, target in ((null, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
            execute(order)
        except OSError as error:
            os.write(tell, str(error).encode())
        os._exit(127)
    os.close(tell)
    failure = os.read(told, 1000).decode()
    if failure:
        os.waitpid(pid, 0)
        raise OSError(failure)
    return pid


def main() -> int:
    order = json.load(sys.stdin)
    try:
        if not order["log"]:
            execute(order)
        sys.stdout.write(f"{start(order)}\n")
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 126
    return 0


if __name__ == "__main__":
    sys.exit(main())
