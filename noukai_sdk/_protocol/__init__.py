"""This room holds the protocol without any I/O: generators of effects, and a machine from bytes to frames."""
