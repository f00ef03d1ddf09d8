"""Words -> command, and a command's result -> terminal, JSON lines and exit code.

In come the command line, the environment and the standard streams; out go logs on stderr, an
answer on stdout and the exit code. Only this room reads the environment, and only it prints.
"""
