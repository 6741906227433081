"""Judges the delivery promise: ``make chaos [SEED=n] [MINUTES=m]`` runs a stack under load while faults are injected.

population.py draws people, works and a calendar from the seed · chaos_stack.py starts two replicas of every service,
behind balancer.py · load.py makes events, scripted_replies.py what people answer · fault_injection.py kills and freezes
processes and makes simulators fail · recorder.py records topics and tables · drain.py waits until all work is done ·
checks/ judges the files of a run and imports nothing of the product · report.py prints the result · run.py is one run.
"""
