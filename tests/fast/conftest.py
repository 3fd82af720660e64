"""What all fast tests share: a garbage collector that leaves alone what lives as long as the run.

In: the collected tests. Out: collections that look only at what tests make. The imported modules and the tests are
hundreds of thousands of objects; to walk them again and again took a seventh of the run.
"""

import gc


def pytest_collection_finish() -> None:
    """Everything that is there by now stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
