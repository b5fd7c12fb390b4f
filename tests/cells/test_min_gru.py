import numpy as np

from jaxrnn import MinGRU
from tests.checks import Case


def test_the_positive_candidate_keeps_the_state_above_zero():
    case = Case(MinGRU(5, positive=True))
    case.arguments = case.arguments._replace(carry=type(case.arguments.carry)(np.abs(case.arguments.carry.h)))
    case.check_equations(False)
    assert (np.asarray(case.reference(False)[0][0].h) > 0).all()
