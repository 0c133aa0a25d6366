"""Asks adapters questions and compares their answers with the reference's."""
