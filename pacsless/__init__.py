"""Pacsless: what the gateway, the functions and the local stack share."""

__version__ = "0.1.0"
