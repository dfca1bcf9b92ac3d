"""Parameters: the table of them, and how texts become a `SyncConfig`. Below this package nobody reads a text."""
