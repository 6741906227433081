"""From rule files to all replicas: where they come from, which revision is in force, what is tried beside it."""
