import numpy as np
import pytest

from jaxrnn import ElmanJordan, Jordan
from tests.checks import Case


@pytest.mark.parametrize("cell_type", [Jordan, ElmanJordan])
def test_a_softmax_is_fed_back_as_probabilities(cell_type):
    case = Case(cell_type(5, 3, "sigmoid", "softmax"))
    case.check_equations(True)
    carry, ys = case.reference(False)[0]
    active = np.asarray(ys).any(-1)
    assert active.any() and np.allclose(np.asarray(ys).sum(-1), active, atol=1e-12)
