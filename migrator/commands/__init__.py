"""The commands: each is a thin function, and its rules lie beside it in NAME_rules.py.

In come a run and the words and options of the command line; out goes what the command shows.
"""
