"""A finished run as a web page and a JSON endpoint on this machine."""
