"""The lead over a state that several coordinators have. In: nothing. Out: what its record says."""

import msgspec


class Lease(msgspec.Struct, frozen=True):
    """The lead as it is kept. `holder`: one life of a coordinator's process, "" = nobody, it was given back. `fence`:
    one higher whenever another one takes it. `beat`: one higher with each renewal. `seconds`: how long after the last
    change of this record, as whoever waits for it sees it by his own clock, it may be taken; no clock's time stands in
    it. `url`: where the holder is reached by the others. `certificate`: whether that one asks for client
    certificates."""

    holder: str
    fence: int
    beat: int
    seconds: float
    url: str = ""
    certificate: bool = False
