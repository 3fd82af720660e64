"""What makes a random run the same again.

HELENUS_KILLS: how many deaths at least (30). HELENUS_SEED: repeats a run, as far as time repeats itself.
"""

import os
import time

KILLS = int(os.environ.get("HELENUS_KILLS", "30"))
SEED = int(os.environ.get("HELENUS_SEED", str(time.time_ns() % 10**9)))
