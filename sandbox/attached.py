"""Become another user, tie this process to its parent, then turn into the given command.

    python attached.py PARENT_PID SIGNAL USER COMMAND [ARGUMENT ...]

`SIGNAL` is what the kernel sends when the parent dies, 0 for nothing; `USER` is a name or "-" for the present one.
A program of its own, and not a `preexec_fn`: running Python between fork and exec is unsafe in a parent with threads.
The kernel forgets the signal whenever the user changes, so the order matters.
"""

import ctypes
import os
import pwd
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Replace this process by the command; return only by an exception."""
    parent, signal, user, command = int(arguments[0]), int(arguments[1]), arguments[2], arguments[3:]
    if user != "-":
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        # The server must not depend on a working directory that its user cannot enter.
        os.chdir("/")
    if signal:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit("the parent process ended first")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
