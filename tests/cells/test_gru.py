import jax.numpy as jnp
import numpy as np

from jaxrnn import GRU, ResetBeforeGRU, unroll
from jaxrnn.cells.gru import negate_update_gate
from tests import oracles
from tests.checks import assert_close, draw_arguments


def test_the_other_update_gate_converts_exactly():
    """h' = (1 - z) h + z n with converted weights is the same network."""
    params, xs, carry = draw_arguments(GRU(5), batch=())
    end, _ = unroll(GRU(5), negate_update_gate(jnp_tree(params)), xs, carry)

    h = carry.h
    for x in xs:
        (W_z, U_z, b_z), (W_r, U_r, b_r), (W_n, U_n, b_n) = oracles.by_gate(params, h)
        z = oracles.sigmoid(x @ W_z + h @ U_z + b_z)
        r = oracles.sigmoid(x @ W_r + h @ U_r + b_r)
        n = np.tanh(x @ W_n + b_n + r * (h @ U_n + params.pointwise))
        h = (1 - z) * h + z * n
    assert_close(end.h, h, 1e-12)


def test_both_resets_agree_only_where_the_candidates_matrix_is_diagonal():
    params, xs, carry = draw_arguments(GRU(5), batch=())
    params = params._replace(pointwise=np.zeros(5))
    diagonal = params.recurrent.copy()
    diagonal[:, 10:] *= np.eye(5)

    def ends(recurrent):
        after = unroll(GRU(5), params._replace(recurrent=recurrent), xs, carry)[0].h
        before = unroll(ResetBeforeGRU(5), params._replace(recurrent=recurrent, pointwise=()), xs, carry)[0].h
        return after, before

    assert_close(*ends(diagonal), 1e-12)
    after, before = ends(params.recurrent)
    assert np.abs(after - before).max() > 1e-3


def jnp_tree(params):
    return type(params)(*(jnp.asarray(leaf) for leaf in params))
