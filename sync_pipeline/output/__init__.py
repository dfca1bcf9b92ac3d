"""What a run prints and logs: lines, one live line on a terminal, fields in Cloud Logging, and one JSON document."""
