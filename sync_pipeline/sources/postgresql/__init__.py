"""PostgreSQL as a source: `source.py` describes a query and plans its read."""
