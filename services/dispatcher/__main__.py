"""``python -m services.dispatcher``."""

from services.dispatcher.app import main
from shared.process import start

start(main)
