"""Calls to BigQuery: the client, its errors, and jobs that run once. What the calls are for is decided above."""
