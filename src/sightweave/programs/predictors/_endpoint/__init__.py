"""Internals of `endpoint`: the connection to a server, its requests, and the parsing of its responses."""
