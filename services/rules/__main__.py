"""``python -m services.rules``."""

from services.rules.app import main
from shared.runtime.service import run_service

run_service(main)
