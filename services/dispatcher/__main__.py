"""``python -m services.dispatcher``."""

from services.dispatcher.app import main
from shared.runtime.service import run_service

run_service(main)
