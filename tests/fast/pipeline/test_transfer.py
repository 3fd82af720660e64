"""What an object of a source must be beside authentic, before it is copied."""

import pytest

from agent.crypto.digest import digest
from agent.pipeline.stored_object import StoredObject
from agent.pipeline.transfer import _refuse_other, _Wanted
from agent.repository.errors import ObjectDamaged
from agent.repository.form import Decoded, Packed
from agent.repository.frame import Codec
from agent.storage.threads import Stop

PLAIN = memoryview(b"rows of a table")


@pytest.mark.parametrize("is_sealed", [False, True])
@pytest.mark.parametrize(
    ("length", "codec", "right"),
    [
        (len(PLAIN), Codec.RAW, True),
        (len(PLAIN) - 1, Codec.RAW, True),
        (len(PLAIN) + 1, Codec.RAW, False),
        (len(PLAIN), Codec.ZSTD, False),
    ],
)
def test_it_is_what_the_manifest_says(length: int, codec: Codec, right: bool, is_sealed: bool) -> None:
    """Promise: of the codec that its key tells, and with no fewer bytes than the manifest's files fill."""
    object_id = digest(PLAIN)
    decoded = Decoded(PLAIN, b"" if is_sealed else object_id, Packed(Codec.RAW, PLAIN))
    wanted = _Wanted(StoredObject(object_id, codec, len(PLAIN) + 52), length)
    if right:
        _refuse_other(decoded, wanted, "key", Stop())
        return
    with pytest.raises(ObjectDamaged, match="another one than the manifest says: key"):
        _refuse_other(decoded, wanted, "key", Stop())
