"""WHAT THE EVIDENCE SAYS: split, ledger, trials, evidence, cost, recommendation."""
