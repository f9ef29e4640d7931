"""The command line as a module: `python -m whichway`."""

from whichway.cli import main

main()
