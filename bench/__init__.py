"""Measurements of the real daemon; `make bench` runs them. Nothing is asserted."""
