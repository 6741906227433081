"""``python -m services.ingest``."""

from services.ingest.app import main
from shared.runtime.service import start

if __name__ == "__main__":
    start(main)
