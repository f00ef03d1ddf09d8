"""Files whose statements cannot share a transaction: run, interrupted and settled.

In come a script and its journal; out go statements one by one, each with its lines in the journal.
"""
