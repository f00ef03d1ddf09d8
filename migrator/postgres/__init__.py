"""The driver's room: URLs, connecting, sessions, stopping, and who blocks a session.

In come targets and statements; out go rows, refusals and lost connections. Only this room imports
psycopg2 and tenacity.
"""
