"""The HTTP server of the public port: routing, limits on connections, and the HTTP/1.1 protocol."""
