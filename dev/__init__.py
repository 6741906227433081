"""Tools for a developer's machine: a real broker and database, two simulators, the demo, chaos runs."""
