"""The console command `sync-to-bigquery`: a module for each of its commands, over what `main.py` and the others use."""
