"""Runs looked back on: listed, read again, and two of them compared."""
