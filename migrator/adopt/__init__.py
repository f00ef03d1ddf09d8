"""The histories of other tools: how they look, what they prove, and how one is taken over.

In come the rows of another tool's table and the folder; out go rows of our own history.
"""
