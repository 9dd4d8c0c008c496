"""Proof: what clients and nodes saw, and whether it keeps the promises.

`history` and `facts` are records, `checks` judges them; all three are plain data and pure
functions, so that a simulated cluster and a real one are judged by the same code.
"""
