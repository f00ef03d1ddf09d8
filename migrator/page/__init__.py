"""What `report` answers as one page to look at, without a network: HTML, and pictures as SVG.

In comes the answer with its secrets hidden; out goes the text of a file.
"""
