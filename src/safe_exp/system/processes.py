"""Further processes of a command, started with multiprocessing."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """End this process when the one that started it is gone; for the initializer of a pool.

    A parent that is killed outright tells nobody, and its workers would wait for more to do, and keep their memory, for
    ever.
    """

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
