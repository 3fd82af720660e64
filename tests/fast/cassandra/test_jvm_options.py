"""The agent's block among Cassandra's JVM options: put, replaced, taken out, and everything else left as it is."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cassandra.jvm_options import KEEP_DOWN, JvmOptions, with_block
from agent.cassandra.service_errors import JvmOptionsDamaged, KeptDown, ServiceNotConfigured

OWN = "# options\n-Xmx1g\n\n-Dcassandra.ring_delay_ms=1 # caf\xe9\n"


async def test_a_block_is_put_replaced_and_taken_out(tmp_path: Path) -> None:
    """Promise: the last lines of the file are the job's; put again they are the new ones; removed, the file is what it
    was, with its mode; removed again, or where there is no file, nothing happens."""
    path = tmp_path / "jvm-server.options"
    path.write_bytes(OWN.encode("latin-1"))
    path.chmod(0o640)
    options = JvmOptions(path)
    await options.put("job1", ["-Da=1"])
    await options.put("job1", ["-Da=2", "-Db=3"])
    block = "# helenus begin job1\n-Da=2\n-Db=3\n# helenus end\n"
    assert path.read_bytes().decode("latin-1") == OWN + block
    for _ in range(2):
        await options.remove("job1")
        assert path.read_bytes().decode("latin-1") == OWN
    assert path.stat().st_mode & 0o777 == 0o640
    path.unlink()
    await options.remove("job1")
    assert not path.exists()


async def test_without_a_file_nothing_can_be_told(tmp_path: Path) -> None:
    """Promise: where the settings name no file, putting is refused with the setting, and there is nothing to remove."""
    options = JvmOptions(None)
    with pytest.raises(ServiceNotConfigured) as refused:
        await options.put("job1", ["-Da=1"])
    assert refused.value.fields["setting"] == "cassandra.service.jvm_options_file"
    await options.remove("job1")


@pytest.mark.parametrize("rest", ["-Da=1\n", "-Da=1\n# helenus begin job2\n-Db=1\n# helenus end\n"])
def test_a_block_without_an_end_is_not_guessed_at(rest: str) -> None:
    """Promise: nobody's lines are taken out with the agent's because an end mark was lost."""
    with pytest.raises(JvmOptionsDamaged):
        with_block(f"{OWN}# helenus begin job1\n{rest}", "job1", [], "file")


@given(
    st.lists(st.sampled_from(["-Xa\n", "# b\n", "\n", "-Dc=d # e\r\n"])).map("".join),
    st.lists(st.sampled_from(["-Dx=1", "-Dy=2"]), min_size=1),
)
def test_what_is_put_and_removed_leaves_nothing(text: str, lines: list[str]) -> None:
    """Promise: whatever else stands there, and also beside another job's block."""
    other = with_block(text, "job2", ["-Dz=3"], "file")
    both = with_block(other, "job1", lines, "file")
    assert both.endswith("".join(f"{line}\n" for line in [*lines, "# helenus end"]))
    assert with_block(both, "job1", [], "file") == other
    assert with_block(with_block(both, "job2", [], "file"), "job1", [], "file") == text


async def test_who_keeps_cassandra_down_is_told_by_its_job(tmp_path: Path) -> None:
    """Promise: any block of a job counts, be it that its Cassandra only lets no client in, and no line of a person's;
    without a file there is none."""
    options = JvmOptions(tmp_path / "jvm-server.options")
    await options.refuse_kept_down()
    (tmp_path / "jvm-server.options").write_text(f"-Dcassandra.replayList=a.person\n{OWN}")
    await options.refuse_kept_down()
    await options.put("job2", [KEEP_DOWN])
    with pytest.raises(KeptDown) as raised:
        await options.refuse_kept_down()
    assert raised.value.fields["jobs"] == ["job2"]
    await options.refuse_kept_down(but="job2")
    for line in ("-Dcassandra.replayList=ks.t", "-Dcassandra.start_native_transport=false"):
        await options.put("job2", [line])
        assert await options.kept_down_by() == ["job2"]
    await options.remove("job2")
    await options.refuse_kept_down()
