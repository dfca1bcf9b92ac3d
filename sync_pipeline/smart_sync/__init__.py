"""Smart Sync: the interval of the timestamp column that a run reads. Pure: clocks and answers are arguments."""
