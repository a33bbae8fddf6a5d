"""The report: figures and sheets of pictures, as PNG files."""
