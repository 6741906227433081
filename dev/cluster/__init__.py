"""Tries Stet on a real Kubernetes: ``make cluster [NODE=path/to/node.sh]``, or on any cluster that kubectl reaches.

node.py makes a node and its images · kubectl.py calls the cluster · manifests.py writes the kustomization of a run ·
readiness.py says what is not ready and why, and waits for it · policies.py, load.py and backup.py are the
trials, run.py has them as steps, report.py prints the table, memory.py measures the pods.

Run inside the cluster, in the pod dev-runner: stories_job.py, load_job.py, probe_job.py, webhook_counts.py and
database_job.py, by the addresses of in_cluster.py; clock_file.py makes the clock that all pods of the stories share.
"""
