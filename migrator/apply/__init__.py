"""The pending migrations, each sent as one guarded message; and what became of it.

In come the folder, the settings and a database; out go applied migrations, or the error that says
which statement PostgreSQL refused, and why.
"""
