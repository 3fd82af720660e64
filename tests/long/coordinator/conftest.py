"""The toy cluster of the fast tests."""

from tests.fast.coordinator.orchestrate.conftest import scene as scene
