"""What `fork_server.python` writes as a program: `python SCRIPT …`, `python -m MODULE …` or `python -c CODE …`.

The server forks the program, which gets this process's arguments, environment, folder, input and output. Signals are
passed on to it, its exit code or the signal that ended it is this process's too, and it is killed if this process is.
With other options of Python this process becomes Python itself.
"""

import json
import os
import signal
import socket
import sys

# Those that a program may handle.
_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
# Of the variables that Python itself reads when it starts, the server knows these.
_KNOWN = frozenset({"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"})


def main(server: str, words: list[str]) -> None:
    """Have the server at the socket `server` fork the program; end as it ends."""
    unknown = {name for name in os.environ if name.startswith("PYTHON")} - _KNOWN
    if unknown or not words or (words[0].startswith("-") and words[0] not in ("-c", "-m")):
        os.execv(sys.executable, [sys.executable, *words])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(server)
        request = json.dumps({"words": words, "environment": dict(os.environ)}).encode()
        folder = os.open(".", os.O_RDONLY)
        socket.send_fds(connection, [len(request).to_bytes(4)], [0, 1, 2, folder])
        connection.sendall(request)
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda number, _: _pass_on(connection, number))
        # Whoever reads what the program writes waits until nobody can write any more.
        for standard in (0, 1, 2):
            os.close(standard)
        answer = connection.recv(4)
    # Without an answer the server is no more, and with it the program.
    exit_code = int.from_bytes(answer, signed=True) if answer else -signal.SIGKILL
    if exit_code < 0:
        if -exit_code in _SIGNALS:
            signal.signal(-exit_code, signal.SIG_DFL)
        os.kill(os.getpid(), -exit_code)
    os._exit(exit_code)


def _pass_on(connection: socket.socket, number: int) -> None:
    try:  # noqa: SIM105 - what is imported here is imported for each program
        connection.send(bytes([number]))
    except OSError:
        pass  # the program has ended


if __name__ == "__main__":
    main(__file__.removesuffix("python") + "socket", sys.argv[1:])
