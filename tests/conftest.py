"""Examples of hypothesis are judged by what they find, never by how long a busy machine takes for one."""

from hypothesis import HealthCheck, settings

if settings().deadline is not None:  # else a profile without one was chosen: tests.mutation.hasty, say
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")
