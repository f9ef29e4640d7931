"""Pieces that several strategies are made of; none of them is a strategy."""
