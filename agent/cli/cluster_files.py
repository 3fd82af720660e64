"""Whether a cluster can be found. In: an open repository. Out: which of its cluster.json and of the index `names/` are
damaged or missing, on the screen, and how many.

Both are plain in an encrypted repository as well, and have a check of their own.
"""

from agent.cli.screen import Screen
from agent.repository.attach import read_cluster
from agent.repository.errors import NotARepository
from agent.repository.keys import NAMES, cluster_key, decoded, named_key
from agent.repository.opened import OpenedRepository


async def check_cluster_files(opened: OpenedRepository, screen: Screen) -> int:
    """How many things are wrong with them. Raises a StorageError."""
    storage, cluster_id = opened.storage, opened.cluster_id
    key = cluster_key(cluster_id)
    wrong = []
    expected = None
    entry = await storage.head(key)
    if entry is None:
        wrong.append(f"missing: {key}")
    else:
        try:
            expected = named_key((await read_cluster(storage, key, entry.size, cluster_id)).name, cluster_id)
        except NotARepository as error:
            wrong.append(error.message)
    seen = set()
    async for named in storage.list(NAMES):
        seen.add(named.key)
        wanted = decoded(named.key.rpartition("/")[2])
        if wanted is None:
            continue  # nobody's file
        try:
            found = await read_cluster(storage, named.key, named.size, wanted)
        except NotARepository as error:
            wrong.append(error.message)
        else:
            if named_key(found.name, wanted) != named.key:
                wrong.append(f"{named.key} is of a cluster of another name")
    if expected is not None and expected not in seen:
        wrong.append(f"missing: {expected}")
    for what in wrong:
        screen.line(f"the cluster {cluster_id} can't be found by it: {what}")
    return len(wrong)
