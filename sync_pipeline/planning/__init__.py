"""Planning: the launch asks source and destination, and decides everything. Nothing here writes."""
