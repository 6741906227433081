"""Proves a folder of rules before anybody's phone buzzes: ``python -m services.rules.check FOLDER``."""
