"""Writeback owns the truth in Consonance: what people confirmed is written there once, and read back.

In:    ``writes.requested`` from rules, ``contacts`` from ingest.
Out:   ``writes.events`` to rules, ``metadata.approved`` to systems downstream.
Keeps: the queue of writes with what is known of each, manual tasks, and evidence nobody can alter.
"""
