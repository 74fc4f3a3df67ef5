"""Worker processes that a command starts with multiprocessing."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def end_with_parent() -> None:
    """End this process when its parent has ended; an initializer for the workers of a pool.

    A parent that is killed outright cannot stop its workers: they would wait for work, and keep their memory, for ever.
    """

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def without_main_script() -> Iterator[None]:
    """Keep processes that are spawned within the block from running the program's main script again.

    multiprocessing runs it in each of them, under another name. A script without `if __name__ == "__main__":` would
    then start its work anew in every worker, which is refused there, and the pool would wait for ever. The workers here
    need nothing of the script: what they run and receive lies in modules.
    """
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
    try:
        main.__spec__ = None
        if "__file__" in kept:
            del main.__file__
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)
