"""Real servers on this machine for the demo, the tests and the benchmarks.

PostgreSQL, MongoDB, a BigQuery emulator and a Cloud Storage emulator, all installed from Python packages and all
listening on 127.0.0.1 only. `sync_pipeline` does not know they exist: it only sees the environment variables that
Google's clients honour anyway.

    with sandbox.running(folder) as endpoints:
        os.environ.update(endpoints.environment())
"""

from sandbox.endpoints import Endpoints
from sandbox.processes import SandboxError
from sandbox.stack import running, start_server, stop_server

__all__ = ["Endpoints", "SandboxError", "running", "start_server", "stop_server"]
