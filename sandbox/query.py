"""A query in the sandbox's BigQuery, on the command line."""

from google.api_core.exceptions import GoogleAPICallError
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from sandbox import demo_screen
from sandbox.endpoints import Endpoints
from sandbox.processes import SandboxError


def query(endpoints: Endpoints, sql: str) -> None:
    """Print the result of a query as a table. Raises SandboxError with BigQuery's message."""
    default = bigquery.DatasetReference(endpoints.project, endpoints.dataset)
    client = bigquery.Client(
        endpoints.project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": endpoints.bigquery_host},
    )
    # The emulator answers the same again, and the client would ask it for ten minutes.
    once = Retry(predicate=lambda _error: False)
    try:
        rows = client.query_and_wait(sql, job_config=bigquery.QueryJobConfig(default_dataset=default), retry=once)
    except GoogleAPICallError as error:
        raise SandboxError(error.message) from None
    table = demo_screen.rows_table([field.name for field in rows.schema], [row.values() for row in rows])
    demo_screen.new_console().print(table)
