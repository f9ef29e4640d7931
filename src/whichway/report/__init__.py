"""HOW IT IS SHOWN: terminal, HTML page, plots, Markdown, machine-readable report; all from one plain dict."""
