"""HOW WELL: one file per shape of answer."""
