"""The job: `python entrypoint.py [command]`, the container's entry point."""

import gc
import signal

# As PID 1 a signal without a handler is lost: it is kept until `migrator.cli.main` has one.
signal.pthread_sigmask(
    signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}
)

gc.disable()  # nothing of an import is garbage: `program` turns it on again

from migrator.cli.main import program  # noqa: E402

if __name__ == "__main__":
    program()
