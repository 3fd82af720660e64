"""What a person needs to repeat a long run stands in the head of its report."""

from tests.long.seed import KILLS, SEED


def pytest_report_header() -> str:
    """The seed and the number of deaths, as they are given to repeat the run."""
    return f"to repeat this run: HELENUS_SEED={SEED} HELENUS_KILLS={KILLS} make test-long"
