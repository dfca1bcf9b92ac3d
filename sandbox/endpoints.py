"""Where the sandbox's servers listen, as one value."""

from dataclasses import dataclass
from pathlib import Path

from sandbox.dataflow import gcloud_environment


@dataclass(frozen=True)
class Endpoints:
    """The addresses and names a client needs; valid until the sandbox stops.

    `bigquery_host`, `storage_host` and `dataflow_host` are URLs with a scheme and no trailing slash. `dataflow_host`
    also serves Cloud Scheduler, Secret Manager and Cloud Logging. `bigquery_storage_host` and `secret_manager_host` are
    the `host:port` of gRPC services without TLS; the first may be "" when the user's own server replaces BigQuery.
    `dataset` and `bucket` exist. `mongodb_uri` logs in as the administrator; the user `mongodb_username` may only read
    `mongodb_database`. Both users are in the database `admin`.
    """

    folder: Path
    postgresql_host: str
    postgresql_port: int
    postgresql_database: str
    postgresql_username: str
    postgresql_password: str
    mongodb_uri: str
    mongodb_host: str
    mongodb_port: int
    mongodb_database: str
    mongodb_username: str
    mongodb_password: str
    bigquery_host: str
    bigquery_storage_host: str
    storage_host: str
    dataflow_host: str
    secret_manager_host: str
    bucket: str
    project: str
    dataset: str
    credentials_file: Path

    @property
    def postgresql_dsn(self) -> str:
        """The libpq connection string of the demo database, with the password."""
        return (
            f"host={self.postgresql_host} port={self.postgresql_port} dbname={self.postgresql_database} "
            f"user={self.postgresql_username} password={self.postgresql_password}"
        )

    def secrets(self) -> dict[str, str]:
        """Return the initial secrets of Secret Manager, by name."""
        return {
            "postgresql-password": self.postgresql_password,
            "mongodb-password": self.mongodb_password,
            "mongodb-uri": self.mongodb_uri,
        }

    def environment(self) -> dict[str, str]:
        """Return the environment variables that point Google's clients, gcloud and database clients to the servers."""
        return {
            "BIGQUERY_EMULATOR_HOST": self.bigquery_host,
            "BIGQUERY_STORAGE_EMULATOR_HOST": self.bigquery_storage_host,
            "STORAGE_EMULATOR_HOST": self.storage_host,
            "SECRET_MANAGER_EMULATOR_HOST": self.secret_manager_host,
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.credentials_file),
            "GOOGLE_CLOUD_PROJECT": self.project,
            # Without this, Google's libraries first look for a metadata server and wait until the attempts time out.
            "NO_GCE_CHECK": "true",
            "SANDBOX_FOLDER": str(self.folder),
            "SANDBOX_BUCKET": self.bucket,
            "SANDBOX_DATASET": self.dataset,
            "SANDBOX_DATAFLOW_HOST": self.dataflow_host,
            "DATAFLOW_EMULATOR_HOST": self.dataflow_host,
            "SANDBOX_MONGODB_URI": self.mongodb_uri,
            "SANDBOX_MONGODB_PORT": str(self.mongodb_port),
            "SANDBOX_POSTGRESQL_DSN": self.postgresql_dsn,
            "SANDBOX_POSTGRESQL_PORT": str(self.postgresql_port),
            **gcloud_environment(self.folder, self.dataflow_host, self.storage_host, self.project),
        }
