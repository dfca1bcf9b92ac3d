"""Planning: queries source and destination at launch and makes all decisions. Never writes."""
