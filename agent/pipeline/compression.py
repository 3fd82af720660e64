"""Whether zstd pays for an object: in, its plain bytes; out, the compressed ones, or None.

Most bytes of a node are SSTables that Cassandra compressed already; of these a sample tells in 0.1 ms. What pays are
uncompressed tables, indexes, and the components of small SSTables (Statistics.db above all).
"""

from collections import deque

import zstandard

from agent.storage.protocol import Buffer

LEVEL = 1
_PAYS = 0.9
"""The compressed part of the bytes from which on it isn't worth a reader's time."""
_SAMPLED = 512 * 1024
"""Bytes from which on a sample is tried first: smaller objects are compressed as fast as sampled."""
_SAMPLE = 32 * 1024
_SAMPLES = 3


class Compression:
    """Compressors that worker threads share: making one costs more than compressing a small object."""

    def __init__(self, level: int = LEVEL) -> None:
        self._level = level
        self._free: deque[zstandard.ZstdCompressor] = deque()

    def compressed(self, plain: memoryview) -> Buffer | None:
        """One zstd frame that says its content's size, or None where it would not pay. Called in worker threads."""
        try:
            compressor = self._free.pop()
        except IndexError:
            compressor = zstandard.ZstdCompressor(level=self._level)
        try:
            if plain.nbytes >= _SAMPLED and not _pays(compressor, plain):
                return None
            found = compressor.compress(plain)
        finally:
            self._free.append(compressor)
        return found if len(found) <= _PAYS * plain.nbytes else None


def _pays(compressor: zstandard.ZstdCompressor, plain: memoryview) -> bool:
    """Whether runs from over all of it become smaller."""
    step = (plain.nbytes - _SAMPLE) // (_SAMPLES - 1)
    found = sum(len(compressor.compress(plain[one * step : one * step + _SAMPLE])) for one in range(_SAMPLES))
    return found <= _PAYS * _SAMPLE * _SAMPLES
