"""The sandbox on the command line: python -m sandbox up|env|psql|mongo|query|gcloud|down."""

import argparse
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

from psycopg2.extensions import make_dsn

from sandbox import mongodb, postgresql, stack
from sandbox.endpoints import Endpoints
from sandbox.processes import SandboxError

_ROOT = Path(__file__).resolve().parent.parent


def arguments_of(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parse a command, and return it and the words that it passes on. Exits with 2 if it is none."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="Real servers on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="start the servers, in the background")
    commands.add_parser("env", help='print the variables: eval "$(python -m sandbox env)"')
    commands.add_parser("psql", help="open psql on the demo database; further arguments go to psql", add_help=False)
    commands.add_parser("gcloud", help="run gcloud against these servers; further arguments go to it", add_help=False)
    mongo = commands.add_parser("mongo", help="run a MongoDB command on the demo database")
    mongo.add_argument("document", help="""Extended JSON, such as '{"find": "tickets", "limit": 1}'""")
    query = commands.add_parser("query", help="run a query in BigQuery, with the demo dataset as default")
    query.add_argument("sql", help="such as 'SELECT COUNT(*) FROM orders'")
    commands.add_parser("down", help="stop the servers and delete their data")
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.command not in ("psql", "gcloud"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return arguments, rest


def main(argv: list[str]) -> int:
    """Run one command and return its exit code; an expected failure is one message on standard error."""
    arguments, rest = arguments_of(argv)
    folder = Path(os.environ.get("SANDBOX_FOLDER") or _ROOT / ".sandbox")
    try:
        match arguments.command:
            case "up":
                _up(folder)
            case "env":
                for name, value in sorted(_running(folder).environment().items()):
                    print(f"export {name}={shlex.quote(value)}")
            case "psql":
                _psql(_running(folder), rest)
            case "gcloud":
                _gcloud(_running(folder), rest)
            case "mongo":
                print(mongodb.run_command(_running(folder).mongodb_uri, arguments.document))
            case "query":
                # BigQuery's client takes half a second to import, which the other commands do not need.
                from sandbox.query import query

                query(_running(folder), arguments.sql)
            case "down":
                _down(folder)
    except SandboxError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    return 0


def _up(folder: Path) -> None:
    existing = stack.read_state(folder)
    if existing and stack.is_running(existing):
        print(f"The sandbox is running already, in {folder}.")
        return
    if existing:
        print("A server has ended: starting again, with empty servers.", file=sys.stderr)
        stack.remove(folder)
    started = time.monotonic()
    endpoints = stack.start(folder, detached=True).endpoints
    print(f"The sandbox is running after {time.monotonic() - started:.1f} s, in {folder}.")
    print(f"  PostgreSQL     {endpoints.postgresql_host}:{endpoints.postgresql_port}, or: python -m sandbox psql")
    print(f"  MongoDB        {endpoints.mongodb_host}:{endpoints.mongodb_port}, or: python -m sandbox mongo")
    print(f"  BigQuery       {endpoints.bigquery_host}, project {endpoints.project}, dataset {endpoints.dataset}")
    print(f"  Cloud Storage  {endpoints.storage_host}, gs://{endpoints.bucket}")
    print(f"  Dataflow       {endpoints.dataflow_host}, or: python -m sandbox gcloud dataflow jobs list --region=…")
    secret = f"projects/{endpoints.project}/secrets/postgresql-password/versions/latest"
    print(f"  Secret Manager {endpoints.secret_manager_host}, {secret} and others")
    print('To use it in this shell: eval "$(python -m sandbox env)"')


def _down(folder: Path) -> None:
    if stack.read_state(folder) is None:
        print("The sandbox is not running.")
        return
    stack.remove(folder)
    print("The sandbox is stopped and its data are deleted.")


def _running(folder: Path) -> Endpoints:
    existing = stack.read_state(folder)
    if existing is None:
        raise SandboxError("it is not running; start it with: python -m sandbox up")
    if not stack.is_running(existing):
        raise SandboxError("a server has ended; start again with: python -m sandbox up")
    return existing.endpoints


def _psql(endpoints: Endpoints, arguments: list[str]) -> None:
    program = str(postgresql.binaries() / "psql")
    # The password goes through the environment: arguments are visible to every user of the machine.
    dsn = make_dsn(
        host=endpoints.postgresql_host,
        port=endpoints.postgresql_port,
        dbname=endpoints.postgresql_database,
        user=endpoints.postgresql_username,
    )
    environment = {**os.environ, "PGPASSWORD": endpoints.postgresql_password}
    sys.stdout.flush()
    os.execve(program, [program, dsn, *arguments], environment)


def _gcloud(endpoints: Endpoints, arguments: list[str]) -> None:
    program = shutil.which("gcloud")
    if program is None:
        raise SandboxError("gcloud is not installed; the REST API is the same: " + endpoints.dataflow_host)
    sys.stdout.flush()
    os.execve(program, [program, *arguments], {**os.environ, **endpoints.environment()})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
