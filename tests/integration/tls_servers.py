"""Servers that speak TLS: Debian's PostgreSQL and the sandbox's mongod, and one that does the handshake and no more."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from pymongo import MongoClient

from sandbox import mongodb
from sandbox.processes import Process, free_port, launch, stop, wait_for_exit, wait_until_ready
from tests.certificates import Authority, Pair, written

PASSWORD = "hunter2"
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


@dataclass(frozen=True)
class TlsServer:
    """A server whose certificate is for localhost and 127.0.0.1.

    Attributes:
        authority: signed the server's certificate, and those of clients that the server takes.
        revoked: a client's certificate that the server has on its list.
    """

    port: int
    authority: Authority
    client: Pair
    revoked: Pair


def postgresql_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs from Debian's package, whose server speaks TLS; None without it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


@contextlib.contextmanager
def postgresql_with_tls(programs: Path) -> Iterator[TlsServer]:
    """Run a server with the users `reader` (SCRAM), `plain` (password in the clear) and `certified` (certificate)."""
    authority = Authority()
    server = authority.sign("server", hosts=("localhost", "127.0.0.1"))
    certified, revoked = authority.sign("certified"), authority.sign("certified")
    user = "nobody" if os.geteuid() == 0 else "-"
    owner = pwd.getpwnam(user).pw_uid if user != "-" else os.geteuid()
    folder = Path(tempfile.mkdtemp(prefix="tls-postgresql-", dir="/tmp"))
    folder.chmod(0o711)
    data, files = folder / "data", folder / "files"
    for path in (data, files):
        path.mkdir(mode=0o700)
        os.chown(path, owner, -1)
    try:
        command = (str(programs / "initdb"), f"--pgdata={data}", "--username=postgres", "--auth=trust", "--no-sync")
        initdb = launch(Process("initdb", command, folder / "initdb.log", user=user), detached=False)
        assert wait_for_exit(initdb, 60) == 0, (folder / "initdb.log").read_text()
        rules = (
            "local all postgres trust",
            "hostssl all reader all scram-sha-256",
            "hostssl all plain all password",
            "hostssl all certified all cert",
            "host all open all scram-sha-256",
        )
        written(data, "pg_hba.conf", "\n".join(rules) + "\n", owner)
        port = free_port()
        settings = {
            "port": str(port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(files),
            "fsync": "off",
            "ssl": "on",
            "ssl_cert_file": written(files, "server.pem", server.certificate, owner),
            "ssl_key_file": written(files, "server.key", server.key, owner),
            "ssl_ca_file": written(files, "ca.pem", authority.certificate, owner),
            "ssl_crl_file": written(files, "crl.pem", authority.revoke(revoked), owner),
        }
        words = tuple(f"--{name}={value}" for name, value in settings.items())
        process = Process(
            name="postgresql with TLS",
            command=(str(programs / "postgres"), "-D", str(data), *words),
            log=folder / "postgresql.log",
            user=user,
            stop_signal=signal.SIGINT,
        )
        process = launch(process, detached=False)
        try:
            wait_until_ready(process, lambda: _create_roles(files, port))
            yield TlsServer(port, authority, certified, revoked)
        finally:
            stop(process)
    finally:
        shutil.rmtree(folder)


def _create_roles(folder: Path, port: int) -> None:
    connection = psycopg2.connect(host=str(folder), port=port, user="postgres", dbname="postgres")
    connection.autocommit = True
    with connection.cursor() as cursor:
        for role in ("reader", "plain", "open"):
            cursor.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
        cursor.execute("CREATE ROLE certified LOGIN")
    connection.close()


@contextlib.contextmanager
def mongodb_with_tls(folder: Path) -> Iterator[TlsServer]:
    """Run a server that demands a client's certificate; `CN=client` may log in by it, `reader` by a password."""
    authority = Authority()
    server = authority.sign("server", hosts=("localhost", "127.0.0.1"))
    client, revoked = authority.sign("client"), authority.sign("client")
    port = free_port()
    further = (
        "--auth",
        "--tlsMode=requireTLS",
        f"--tlsCertificateKeyFile={written(folder, 'server.pem', server.both)}",
        f"--tlsCAFile={written(folder, 'ca.pem', authority.certificate)}",
        f"--tlsCRLFile={written(folder, 'crl.pem', authority.revoke(revoked))}",
    )
    process = launch(mongodb.prepare(folder, port, further=further), detached=False)
    options = {"tls": True, "tlsCAFile": str(folder / "ca.pem")}
    options["tlsCertificateKeyFile"] = written(folder, "client.pem", client.both)

    def create_users() -> None:
        administrator = {"username": "administrator", "password": PASSWORD}
        with MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=100, **options) as connection:
            connection["admin"].command("createUser", "administrator", pwd=PASSWORD, roles=["root"])
        with MongoClient("127.0.0.1", port, **options, **administrator) as connection:
            connection["admin"].command("createUser", "reader", pwd=PASSWORD, roles=["readAnyDatabase"])
            connection["$external"].command("createUser", "CN=client", roles=[{"role": "read", "db": "shop"}])
            connection["shop"]["items"].insert_one({"_id": 1})

    try:
        wait_until_ready(process, create_users)
        yield TlsServer(port, authority, client, revoked)
    finally:
        stop(process)


@contextlib.contextmanager
def handshakes(server: Pair, folder: Path, *, is_postgresql: bool) -> Iterator[int]:
    """Listen with the certificate of `server`, do the handshake with whoever comes, and close; yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(written(folder, "server.pem", server.both))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), accepted:
                accepted.settimeout(5)
                if is_postgresql:
                    if accepted.recv(8) != _SSL_REQUEST:
                        continue
                    accepted.sendall(b"S")
                with context.wrap_socket(accepted, server_side=True) as secured:
                    secured.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
