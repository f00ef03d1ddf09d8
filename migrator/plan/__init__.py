"""The folder and the history -> what is to be done, or undone, in which order. Pure.

Input: migrations and applied rows. Output: plans and findings. Nothing is opened here.
"""
