"""Auto-Schema: the layout of a new table and the differences of an existing one. Pure: makes no calls."""
