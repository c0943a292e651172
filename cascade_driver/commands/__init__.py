"""The verbs of the command line, each one library call."""
