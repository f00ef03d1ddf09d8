"""Why PostgreSQL refused a statement, where in which file, and what to do about it (pure).

In come what the server said and what it was asked about it; out go the errors with their remedies.
"""
