"""What the kernel keeps a solver's process from: the memory of others, chosen folders, and outliving its parent.

What is given up or denied is so for the calling thread and for all that it forks or starts later: call these functions
before there are other threads. It can't be taken back. Where the system lacks a facility, they do nothing and return
False, and True where they worked.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

PDEATHSIG, DUMPABLE, CAPBSET_DROP, CHILD_SUBREAPER, NO_NEW_PRIVS = 1, 4, 24, 36, 38  # of prctl
CAP_SYS_PTRACE, CAPABILITY_VERSION = 19, 0x20080522
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # system calls of Landlock, the same on every machine
READ_FILE, READ_DIR, REFER = 1 << 2, 1 << 3, 1 << 13  # the last is renaming and linking between folders
SCOPES = 1 << 0 | 1 << 1  # abstract sockets, signals

_libc = ctypes.CDLL(None, use_errno=True)


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def close_memory():
    """Let no other process of this user read this one's memory or attach to it, until an exec.

    For a process of root that only helps against those that called :func:`drop_tracing`. Files of a plain user's own
    ``/proc/self`` become root's, ``clear_refs`` and ``environ`` among them.
    """
    return _prctl(DUMPABLE, 0)


def open_memory():
    """Take back :func:`close_memory`, which a fork inherits."""
    return _prctl(DUMPABLE, 1)


def drop_tracing():
    """Give up CAP_SYS_PTRACE, with which root reads any process's memory, here and in whatever is executed from here.

    No other capability opens ``/proc/PID/mem`` or ``process_vm_readv``. A process of root that holds it is then out of
    reach, closed or not. Programs that would gain rights when executed, such as ``sudo``, gain none.

    Returns
    -------
    bool
        Whether this process is without it for good.
    """
    no_gain = _prctl(NO_NEW_PRIVS, 1)
    no_gain = _prctl(CAPBSET_DROP, CAP_SYS_PTRACE) or no_gain  # root alone may
    # Effective, permitted and inheritable, then the same for the capabilities from 32 on.
    header, capabilities = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    if sys.platform != "linux" or _libc.capget(header, capabilities):
        return False
    capabilities[:3] = [word & ~(1 << CAP_SYS_PTRACE) for word in capabilities[:3]]
    return _libc.capset(header, capabilities) == 0 and no_gain


def die_with_parent():
    """Have this process killed when the thread that forked it ends; a parent that is gone already isn't noticed."""
    return _prctl(PDEATHSIG, signal.SIGKILL)


def adopt_orphans():
    """Become the parent of all descendants whose own parent ends, in place of the system's first process."""
    return _prctl(CHILD_SUBREAPER, 1)


def deny_reading(folders):
    """Deny this process to open files in ``folders`` for reading, to execute them, to list these folders; and signals.

    From Linux 6.12 on it can't signal others than its descendants, so neither stop nor end bench and server, nor speak
    with them by abstract sockets.

    Landlock knows rules that allow, and none that denies. So everything is allowed that lies beside the ways from ``/``
    to the folders, which has consequences:

    - What is created later beside a way, directly in a folder above a denied one, can't be read either.
    - Folders on the way can't be listed. Files there open, but modules that aren't imported yet may not be found.
    - A folder that doesn't exist yet isn't denied; nor is a second way to one, a hard link or a bind mount.

    Files that are open stay readable, and new ones can be written everywhere. Nothing moves or is linked to where
    more could be read. This process can't trace others than its descendants any more, nor mount, nor gain rights by
    executing a program. Call it once: a second call can't list the ways.

    Parameters
    ----------
    folders : iterable of path
        Symbolic links are followed.

    Returns
    -------
    bool
        False where Landlock can't be had (before Linux 5.19, whose Landlock lets files move between folders), or a way
        can't be listed. Then nothing is denied.

    Raises
    ------
    ValueError
        If Python, this package or the working directory lies in one of them.
    """
    folders = _outermost(folders)
    version = _syscall(CREATE_RULESET, None, 0, 1)
    if version < 2 or not _prctl(NO_NEW_PRIVS, 1):
        return False
    scoped = SCOPES if version >= 6 else 0
    if not folders and not scoped:
        return True
    # Rights to files, to the network, and what is kept inside.
    handled = (ctypes.c_uint64 * 3)(READ_FILE | READ_DIR | REFER if folders else 0, 0, scoped)
    ruleset = _syscall(CREATE_RULESET, ctypes.byref(handled), 24 if scoped else 8, 0)
    if ruleset < 0:
        return False
    try:
        if folders:
            _allow(ruleset, "/", REFER)
        for path in allowed_beside(folders):
            _allow(ruleset, path, READ_FILE | READ_DIR, READ_FILE)  # a file takes no right of folders
        return _syscall(RESTRICT_SELF, ruleset, 0) == 0
    except OSError:
        return False
    finally:
        os.close(ruleset)


def allowed_beside(folders):
    """Yield all that lies beside the ways from ``/`` to the folders: neither in one of them, nor above one.

    Symbolic links are left out, since what they lead to is allowed or denied by itself.
    """
    folders = set(_outermost(folders))
    ways = {str(parent) for folder in folders for parent in Path(folder).parents}
    for way in ways:
        with os.scandir(way) as entries:
            beside = [each.path for each in entries if not each.is_symlink()]
        yield from set(beside) - folders - ways


def _outermost(folders):
    """Return the folders that exist, without symbolic links and without those in another one."""
    real = {os.path.realpath(folder) for folder in folders}
    for needed in ("/", sys.prefix, sys.base_prefix, Path(__file__).parents[2], os.getcwd()):
        needed = Path(os.path.realpath(needed))
        for folder in real & {str(needed), *map(str, needed.parents)}:
            raise ValueError(f"reading {folder} can't be denied: {needed} is needed")
    return [each for each in real if os.path.exists(each) and not real & set(map(str, Path(each).parents))]


def _allow(ruleset, path, *rights):
    """Allow the first of ``rights`` that the kernel takes, on ``path`` and what is beneath it."""
    try:
        folder = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # gone, or not this user's to read
    try:
        any(_syscall(ADD_RULE, ruleset, 1, ctypes.byref(_Beneath(each, folder)), 0) == 0 for each in rights)
    finally:
        os.close(folder)


def _prctl(option, value):
    zeros = (ctypes.c_ulong(0) for _ in range(3))
    return sys.platform == "linux" and _libc.prctl(option, ctypes.c_ulong(value), *zeros) == 0


def _syscall(number, *arguments):
    if sys.platform != "linux":
        return -1
    whole = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    return _libc.syscall(ctypes.c_long(number), *whole)
