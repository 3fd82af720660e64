"""The toy cluster of the fast tests."""

from tests.orchestrate.conftest import scene as scene
