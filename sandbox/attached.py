"""Switch to another user, tie this process to its parent, then execute the given command.

    python attached.py PARENT_PID SIGNAL USER COMMAND [ARGUMENT ...]

The kernel sends `SIGNAL` when the parent dies; 0 means no signal. `USER` is a user name, or "-" for the current user.
This is a separate program because a `preexec_fn`, Python code between fork and exec, is unsafe in a parent with
threads. The kernel clears the signal when the user changes, so the user is changed first.
"""

import ctypes
import os
import pwd
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Replace this process with the command; it never returns, it can only raise."""
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
