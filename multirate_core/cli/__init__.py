"""The command line: the same configuration objects as the app, no user interface, no torch in its process."""
