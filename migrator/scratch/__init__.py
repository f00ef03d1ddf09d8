"""Scratch databases, and what a database holds: snapshots of a catalog and their differences.

In comes a run; out go a run on a database that is dropped afterwards, and snapshots to compare.
"""
