"""BigQuery as a source: `source.py` describes a table or a query and plans its read."""
