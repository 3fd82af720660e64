"""Examples of hypothesis are judged by what they find, never by how long a busy machine takes for one. And no test, of
whatever kind, shows a marked secret (`tests.cluster.canaries`): not in what it or the product prints and logs, nor in
arguments or environment of a process."""

from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

# Before any of them is imported: what a part of the tests finds wrong is told with its values, as in tests.
pytest.register_assert_rewrite(
    "tests.cluster", "tests.fast", "tests.fleet", "tests.orchestrate", "tests.real", "tests.simulation"
)

from tests.cluster import canaries

if settings().deadline is not None:  # else a profile without one was chosen: tests.mutation.hasty, say
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that printed or logged a secret has failed."""
    report = yield
    try:
        for name, text in report.sections:
            canaries.refuse(f"«{name}» of {report.nodeid}", text)
    except canaries.SecretShown as shown:
        if report.outcome == "passed":
            report.outcome, report.longrepr = "failed", str(shown)
    return report


@pytest.fixture(scope="session", autouse=True)
def secrets_of_processes() -> Iterator[None]:
    """No process that the tests start has a secret in its arguments, or in its environment unless it is its own."""
    processes = canaries.Processes()
    processes.start()
    yield
    processes.stop()
