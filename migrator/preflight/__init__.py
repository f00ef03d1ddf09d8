"""What pending files do to tables that exist: facts seen on a scratch database, and a judgement.

In come scripts and the sizes of the live tables; out go facts, findings and advice.
"""
