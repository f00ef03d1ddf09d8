"""The folder beside the history -> what is to be done, or undone, in which order. Pure.

In come migrations and applied rows; out go plans and findings. Nothing is opened here.
"""
