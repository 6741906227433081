"""``python -m services.writeback``."""

from services.writeback.app import main
from shared.runtime.service import run_service

if __name__ == "__main__":
    run_service(main)
