"""Our two tables in the database: who may read them, what they hold, what is written there.

In come a session and the place of the tables; out go records, and the texts that guard and write.
"""
