"""The text of a file -> statements, what they do, and the script that is sent. Pure.

In come bytes or text; out go records with their places in the text. Nothing is opened here.
"""
