"""The trainer: a loss and an Optax optimizer become one compiled update that reports on itself and survives NaN."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, PyTree

from jaxrnn.cell import is_size
from jaxrnn.numerics import carry_dtype, cast, select
from jaxrnn.train.state import Metrics, TrainState
from jaxrnn.validation import describe


@dataclass(frozen=True)
class Trainer:
    """Updates parameters by the gradient of a loss.

        g = dL/dparams,    updates = optimizer(clip(g)),    params' = params + updates

    The gradient is the sum over all unfolded copies of the weights, one for each time step, not their average.
    An update whose loss, gradient norm or own norm is not finite is skipped and counted, never applied: parameters
    and optimizer state stay as they are. After `patience` of them in a row the run stops: the state changes no more
    and holds the last good parameters, and `Metrics.stopped` says so.

    Fields:
        loss_fn: `loss_fn(params, batch, key) -> (loss, aux)`, loss a real scalar, aux any pytree of arrays to report.
            With a carry (see `init`), for truncated backpropagation through time,
            `loss_fn(params, carry, batch, key) -> (loss, (carry, aux))`; no gradient flows into the carry, so it
            ends at the border of the segment (Williams & Peng, 1990, https://doi.org/10.1162/neco.1990.2.4.490).
        optimizer: Any of Optax; it is also given `value`, `grad` and `value_fn`, which some need.
        clip: Optax's clipping, which comes before the optimizer and is measured: `optax.clip_by_global_norm(c)`
            keeps the direction (Pascanu et al., 2013), `optax.clip(c)` bounds each entry. Default: none.
        patience: Updates skipped in a row after which the run stops. Default: 10.

    Raises:
        ValueError: `patience` is below 1; the optimizer state is that of other parameters; the loss is no scalar.
        TypeError: parameters are not floating point; `loss_fn` returns something else.

    Example:
        >>> def loss_fn(params, batch, key):
        ...     return jnp.mean((batch @ params - 1) ** 2), ()
        >>> trainer = Trainer(loss_fn, optax.sgd(0.1), clip=optax.clip_by_global_norm(1.0))
        >>> state = trainer.init(jnp.zeros(3, jnp.float32), jax.random.key(0))
        >>> state, metrics = trainer.step(state, jnp.ones((8, 3), jnp.float32))
        >>> int(state.step), round(float(metrics.gradient_norm), 3), bool(metrics.clipped)
        (1, 3.464, True)
    """

    loss_fn: Callable
    optimizer: optax.GradientTransformation
    clip: optax.GradientTransformation = optax.identity()
    patience: int = 10

    def __post_init__(self):  # noqa: D105
        if not is_size(self.patience):
            raise ValueError(f"Trainer: `patience` must be a whole number of at least 1, got {self.patience!r}.")

    def init(self, params: PyTree, key, carry: PyTree = None) -> TrainState:
        """The state before the first update. All arrays are copied, so that donation deletes none of the caller's."""
        for path, leaf in jax.tree_util.tree_leaves_with_path(params):
            if not hasattr(leaf, "dtype") or not jnp.issubdtype(leaf.dtype, jnp.inexact):
                raise TypeError(
                    f"Trainer.init: `params` must be floating point arrays, got {getattr(leaf, 'dtype', leaf)!r} at "
                    f"params{jax.tree_util.keystr(path)}. Keep what is not trained outside, in loss_fn; of a Flax "
                    "model take nnx.split(model, nnx.Param, ...)."
                )
        params, key, carry = _copy((params, key, carry))
        counters = (jnp.zeros((), jnp.int32) for _ in range(3))
        return TrainState(params, _copy(self._init_optimizer(params)), carry, key, *counters)

    @functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
    def step(self, state: TrainState, batch) -> tuple[TrainState, Metrics]:
        """One update, compiled. `state` is donated: it may not be used again."""
        return self.update(state, batch)

    @functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
    def steps(self, state: TrainState, batches) -> tuple[TrainState, Metrics]:
        """As many updates as `batches` has entries along the first axis of every leaf, in one compiled call.

        The metrics are stacked along a first axis. `state` is donated.
        """
        return lax.scan(self.update, state, batches)

    def update(self, state: TrainState, batch) -> tuple[TrainState, Metrics]:
        """One update as a pure function, for `jax.vmap` over runs and for loops of one's own."""
        self._check(state)
        key = jax.random.fold_in(state.key, state.step)

        def loss_fn(params):
            return self._loss(params, state.carry, batch, key)

        (loss, (carry, aux)), gradient = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        gradient = jax.tree.map(jnp.conj, gradient)  # of a complex parameter the conjugate points uphill
        updates, optimizer_state, clipped = self._optimize(loss_fn, loss, gradient, state)
        gradient_norm, clipped_norm, update_norm = (_norm(tree) for tree in (gradient, clipped, updates))
        finite = jnp.isfinite(loss) & jnp.isfinite(gradient_norm) & jnp.isfinite(update_norm)
        running = state.skipped_in_a_row < self.patience
        with jax.numpy_dtype_promotion("standard"):
            params = optax.apply_updates(state.params, updates)
        new = TrainState(
            params=_keep(finite, params, state.params),
            optimizer_state=_keep(finite, optimizer_state, state.optimizer_state),
            carry=_keep(_all_finite(carry), carry, state.carry),
            key=state.key,
            step=state.step + 1,
            skipped=state.skipped + (~finite).astype(jnp.int32),
            skipped_in_a_row=jnp.where(finite, 0, state.skipped_in_a_row + 1).astype(jnp.int32),
        )
        new = select(running, new, state)
        metrics = Metrics(
            loss=loss,
            gradient_norm=gradient_norm,
            clipped=_differ(clipped, gradient),
            clip_ratio=jnp.where(gradient_norm > 0, clipped_norm / gradient_norm, jnp.ones_like(gradient_norm)),
            update_norm=update_norm,
            finite=finite,
            stopped=new.skipped_in_a_row >= self.patience,
            aux=aux,
        )
        return new, metrics

    def _loss(self, params, carry, batch, key):
        found = self.loss_fn(params, batch, key) if carry is None else self.loss_fn(params, carry, batch, key)
        form = "(loss, aux)" if carry is None else "(loss, (carry, aux))"
        if not isinstance(found, tuple) or len(found) != 2:
            raise TypeError(f"Trainer: `loss_fn` must return {form}, got a {type(found).__name__}. Add () for no aux.")
        loss, rest = found
        if jnp.shape(loss) != () or not jnp.issubdtype(jnp.result_type(loss), jnp.floating):
            raise ValueError(
                f"Trainer: `loss_fn` must return {form} with a real scalar loss, got "
                f"{jnp.result_type(loss)}{list(jnp.shape(loss))}. Take its mean."
            )
        if carry is None:
            return loss, (None, rest)
        if not isinstance(rest, tuple) or len(rest) != 2:
            raise TypeError(
                f"Trainer: with a carry `loss_fn` must return {form}, got {form[:7]}{type(rest).__name__})."
            )
        try:
            chex.assert_trees_all_equal_shapes_and_dtypes(rest[0], carry)
        except (AssertionError, ValueError, TypeError) as error:
            raise ValueError(
                f"Trainer: `loss_fn` must return a carry like the one it is given, {describe(carry)}, "
                f"got {describe(rest[0])}. Hand on the carry that `unroll` returns."
            ) from error
        return loss, rest

    def _init_optimizer(self, params):
        return self.clip.init(params), self.optimizer.init(params)

    def _optimize(self, loss_fn, loss, gradient, state: TrainState):
        """(updates, optimizer state, clipped gradient), in JAX's standard promotion, which Optax is written for."""
        clip_state, optimizer_state = state.optimizer_state
        optimizer = optax.with_extra_args_support(self.optimizer)
        with jax.numpy_dtype_promotion("standard"):
            clipped, clip_state = self.clip.update(gradient, clip_state, state.params)
            updates, optimizer_state = optimizer.update(
                clipped, optimizer_state, state.params, value=loss, grad=clipped, value_fn=lambda p: loss_fn(p)[0]
            )
        return updates, (clip_state, optimizer_state), clipped

    def _check(self, state: TrainState) -> None:
        expected = jax.eval_shape(self._init_optimizer, state.params)
        try:
            chex.assert_trees_all_equal_shapes_and_dtypes(state.optimizer_state, expected)
        except (AssertionError, ValueError, TypeError) as error:
            raise ValueError(
                "Trainer: the state's `optimizer_state` is not one of this optimizer for these parameters: it must be "
                f"{describe(expected)}, got {describe(state.optimizer_state)}. Make the state with trainer.init."
            ) from error


def _copy(tree: PyTree) -> PyTree:
    def leaf(x):
        if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.extended):
            return x.copy()  # a typed key
        x = jnp.asarray(x)
        return jnp.array(x, dtype=x.dtype, copy=True)  # the explicit dtype also ends a weak type

    return jax.tree.map(leaf, tree)


def _norm(tree: PyTree) -> Array:
    """The global norm, squares summed in at least float32."""
    wide = jax.tree.map(lambda x: cast(x, carry_dtype(jnp.finfo(x.dtype).dtype)), tree)
    with jax.numpy_dtype_promotion("standard"):
        return optax.tree.norm(wide)


def _keep(condition, new: PyTree, old: PyTree) -> PyTree:
    return select(condition, jax.tree.map(lambda n, o: n.astype(o.dtype), new, old), old)


def _all_finite(tree: PyTree):
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(x).all() for x in leaves]).all() if leaves else jnp.array(True)


def _differ(a: PyTree, b: PyTree):
    return jnp.stack([(x != y).any() for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]).any()
