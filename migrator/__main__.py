"""The job where the package is installed: `migrator [command]`, `python -m migrator [command]`."""

import gc
import signal

# A signal without a handler ends the process at once; it is kept until `migrator.cli.main`
# has one.
signal.pthread_sigmask(
    signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}
)

gc.disable()  # nothing of an import is garbage: `program` turns it on again

from migrator.cli.main import program  # noqa: E402

if __name__ == "__main__":
    program()
