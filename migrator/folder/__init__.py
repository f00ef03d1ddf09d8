"""The files of the migrations folder: read, created, renamed, and compared with git.

In come the path of a folder and a name; out go migrations, findings and new files.
"""
