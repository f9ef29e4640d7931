"""WITH WHICH MODEL: one file per backend, and the embedded models."""
