"""Serving S3 in one process or several: sockets, what a process is told, and the processes themselves."""
