"""BY WHICH WAY: one file per strategy; no strategy imports another."""
