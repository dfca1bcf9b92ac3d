"""MongoDB as a source: `source.py` describes a collection and plans its read."""
