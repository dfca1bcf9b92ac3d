"""Smart Sync: which interval of the timestamp column a run reads. Pure: clocks and answers are arguments."""
