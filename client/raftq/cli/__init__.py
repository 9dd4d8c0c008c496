"""`raftq`, the command line: producers, workers and operators at a shell.

Built on `raftq.client` with typer (commands, help, completion). Data
goes to stdout, words to stderr; `--json` on every command. The broker itself is only started as a
process of its own.
"""
