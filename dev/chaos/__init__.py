"""The judge of the delivery promise: ``make chaos [SEED=n] [MINUTES=m]`` runs it all under load while it is killed.

cast.py draws people, works and a calendar from the seed · rig.py starts two replicas of every service · driver.py is
the load, people.py what people do · killer.py strikes · witness.py writes down what the topics carried · checks/
judges the files of a run and imports nothing of the product · report.py prints the verdict.
"""
