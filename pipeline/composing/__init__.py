"""Runs made of other runs: members found, joined, combined, finished, and written."""
