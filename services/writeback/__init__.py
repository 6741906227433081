"""Writes confirmed values to Consonance once, and reads them back.

In:    ``writes.requested`` and ``evidence.requested`` from rules, ``contacts`` from ingest.
Out:   ``writes.events`` to rules, ``metadata.approved`` to systems downstream.
Keeps: the queue of writes with the state of each, manual tasks, and the evidence chain of each record.
"""
