"""The words that travel: limits, errors, messages, their bytes and their versions.

Owns every name, number and type that two processes (or two layers) must agree on. Does not own
behaviour: nothing here opens a socket, keeps state or decides anything. Imports msgpack and
msgspec only, so that the client library can be installed and read without the broker.
"""
