"""Programs to run and to read: each shows one effect on data that is here, and prints one line of JSON."""
