"""The HTTP server of every port: routing, limits on connections, and the HTTP/1.1 protocol."""
