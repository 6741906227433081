"""The contracts of the four services, the runtime under them, and clients of systems that two of them use."""
