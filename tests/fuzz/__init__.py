"""Inputs like those that come, each with something wrong: nothing may crash, answer 500, be lost, or take long.

``make fuzz`` runs a million; ``test_fuzz.py`` some twenty thousand.
"""
