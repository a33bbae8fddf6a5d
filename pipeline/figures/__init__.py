"""Figures, contact sheets and tables that several reports share."""
