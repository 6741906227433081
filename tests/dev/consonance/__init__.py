"""The Consonance simulator, over real sockets."""
