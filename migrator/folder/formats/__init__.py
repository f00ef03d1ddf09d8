"""The folders of other tools, each read by that tool's own rules, and how they are distinguished.

In come the names in a folder and the texts of its files; out come migrations and undo texts.
"""
