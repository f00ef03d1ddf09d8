"""Files that run in many small transactions, under a line `-- migrator: batches`.

In: a file of one statement, and the history as it was seen. Out: a row of the history once its
last batch is committed. What a batch has done is in the cursor's table, docs/design.md section 16.
"""
