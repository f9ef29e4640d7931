"""Plots as inline SVG, drawn on the server: no library, no script, text stays text."""
