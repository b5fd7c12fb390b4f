import jaxtyping
import pytest


@pytest.fixture
def without_type_checks():
    """Messages are read as a user gets them: the type checker of the suite would speak first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
