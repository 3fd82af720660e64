"""A load of writes on one node, in a process of its own. In: an address and how many rows. Out: the seconds they took.

    python -m bench.write_load ADDRESS PORT ROWS

Rows of about 1 KB, half of it random, so many at once that the node never waits for the client. Keys go on where the
process before ended, so that nothing is overwritten.
"""

import os
import sys
import threading
import time

from cassandra.cluster import ResponseFuture, Session

from tests.cluster.sessions import close, open_session

IN_FLIGHT = 128
ROW_BYTES = 1_000
KEYSPACE = "load"
_INSERT = f"INSERT INTO {KEYSPACE}.rows (id, part, text) VALUES (now(), ?, ?)"


def make_table(session: Session) -> None:
    """The table, unless it is there."""
    session.execute(
        f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = "
        "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    session.execute(
        f"CREATE TABLE IF NOT EXISTS {KEYSPACE}.rows (id timeuuid, part int, text blob, PRIMARY KEY (id))"
        " WITH compression = {'enabled': false}"
    )


class Load:
    """Rows in flight, a new one for each that is acknowledged."""

    def __init__(self, session: Session, rows: int) -> None:
        self._session = session
        self._statement = session.prepare(_INSERT)
        self._left = rows
        self._open = 0
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._random = os.urandom(1 << 20)

    def seconds(self) -> float:
        """Write all rows; how long it took. Raises what a write failed with."""
        began = time.perf_counter()
        for _ in range(IN_FLIGHT):
            self._next()
        self._done.wait()
        if self._error is not None:
            raise self._error
        return time.perf_counter() - began

    def _next(self) -> None:
        with self._lock:
            if not self._left or self._error is not None:
                if not self._open:
                    self._done.set()
                return
            self._left -= 1
            self._open += 1
            number = self._left
        at = number * 509 % (len(self._random) - ROW_BYTES)
        text = self._random[at : at + ROW_BYTES // 2] + bytes(ROW_BYTES // 2)
        future: ResponseFuture = self._session.execute_async(self._statement, (number, text))
        future.add_callbacks(self._written, self._failed)

    def _written(self, _: object) -> None:
        with self._lock:
            self._open -= 1
        self._next()

    def _failed(self, error: BaseException) -> None:
        with self._lock:
            self._open -= 1
            self._error = error
        self._done.set()


def main() -> None:
    """Parse the arguments, write, print the seconds."""
    address, port, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    session = open_session([address], port, only_these=True)
    try:
        make_table(session)
        print(Load(session, rows).seconds())
    finally:
        close(session)


if __name__ == "__main__":
    main()
