"""Real servers on this machine for the demo, the tests and the benchmarks.

PostgreSQL, MongoDB, a BigQuery emulator, a Cloud Storage emulator and local versions of Dataflow, Cloud Scheduler and
Secret Manager. All are installed from Python packages and listen on 127.0.0.1 only. `sync_pipeline` has no code for the
sandbox: it reads the environment variables that name emulators.

    with sandbox.running(folder) as endpoints:
        os.environ.update(endpoints.environment())
"""

from sandbox.endpoints import Endpoints
from sandbox.processes import SandboxError
from sandbox.stack import running, start_server, stop_server

__all__ = ["Endpoints", "SandboxError", "running", "start_server", "stop_server"]
