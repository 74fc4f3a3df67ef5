"""Worker processes that a command starts with multiprocessing."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """End this process when its parent has ended; an initializer for the workers of a pool.

    A parent that is killed outright cannot stop its workers: they would wait for work, and keep their memory, for ever.
    """

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
