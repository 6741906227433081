"""Realistic inputs, each with something wrong: no service may crash, answer 500, lose one, or take long.

``make fuzz`` runs a million; ``test_fuzz.py`` some twenty thousand.
"""
