"""Auto-Schema: the layout of a new table, and how an existing one differs. Pure: statements and values, no calls."""
