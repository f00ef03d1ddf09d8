"""The database of a run: its sessions, the tries of each message, and what is asked around a file.

In come the settings and a target; out go answers, or the error that ends the run.
"""
