"""Parameters: their table, and the conversion of texts to a `SyncConfig`. Other packages use only typed values."""
