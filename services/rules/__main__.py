"""``python -m services.rules``."""

from services.rules.app import main
from shared.process import start

start(main)
