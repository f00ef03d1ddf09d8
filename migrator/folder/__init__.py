"""The files of the migrations folder: read, created, renamed, and compared with git.

Input: the path of a folder, a name. Output: migrations, findings and new files.
"""
