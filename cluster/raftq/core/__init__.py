"""The queue machine: what commands do to tasks.

A function from (state, command) to (state, reply, effects). It opens nothing, reads no clock,
draws no random number, logs nothing, awaits nothing and iterates no set, so every replica that
applies the same entries is in the same state.
"""
