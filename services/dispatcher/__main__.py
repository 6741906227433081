"""``python -m services.dispatcher``."""

from services.dispatcher.app import main
from shared.runtime.service import start

start(main)
