"""Rule files on their way to all replicas: their sources, the revision in force, and the revisions that are tried
beside it.
"""
