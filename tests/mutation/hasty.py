"""A pytest plugin: hypothesis tries the same examples each time and doesn't look for the smallest that fails.

In a run over mutants a failure is all that is asked for; to make its example small takes longer than all else, and what
is drawn anew each time would notice a mutant today and miss it tomorrow. A busy machine notices none: it has time.
"""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "hasty",
    phases=(Phase.explicit, Phase.generate),
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("hasty")
