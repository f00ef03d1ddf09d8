"""The text of a file -> statements, what they do, and the script that is sent. Pure.

Input: bytes or text. Output: records with their places in the text. Nothing is opened here.
"""
