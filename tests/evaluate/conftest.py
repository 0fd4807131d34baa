"""Small random checkpoints, shared with the pipelines' tests."""

from tests.pipelines.conftest import zoo  # noqa: F401
