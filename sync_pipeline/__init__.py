"""Load PostgreSQL, MongoDB and BigQuery data into BigQuery with Apache Beam on Dataflow."""

__version__ = "1.0.0"
