"""``python -m services.ingest``."""

from services.ingest.app import main
from shared.runtime.service import run_service

if __name__ == "__main__":
    run_service(main)
