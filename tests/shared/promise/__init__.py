"""The delivery promise, on a real broker and a real database, while processes are killed, frozen and replaced."""
