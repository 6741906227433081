"""``python -m services.writeback``."""

from services.writeback.app import main
from shared.runtime.service import start

if __name__ == "__main__":
    start(main)
