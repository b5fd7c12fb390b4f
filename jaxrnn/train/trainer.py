"""The trainer: a loss and an Optax optimizer become one compiled update that reports on itself and survives NaN."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import PyTree

from jaxrnn.cell import is_size
from jaxrnn.gradients.monitor import UNWATCHED, Monitor
from jaxrnn.numerics import cast_like, select
from jaxrnn.train.state import Metrics, TrainState
from jaxrnn.train.trees import copy, differ, keep, norm, stays_finite, widen
from jaxrnn.validation import describe


@dataclass(frozen=True)
class Trainer:
    """Updates parameters by the gradient of a loss.

        g = dL/dparams,    updates = optimizer(clip(g)),    params' = params + updates

    The gradient is the sum over all unfolded copies of the weights, one for each time step, not their average.
    An update is skipped and counted, never applied, where the loss, the gradient, the update, the carry, the new
    parameters or the new optimizer state are not finite, or where the gradient is too large for its clipping, which
    then makes zero of it: parameters and optimizer state stay as they are. After `patience` of them in a row the run
    stops: the state changes no more and holds the last good parameters, and `Metrics.stopped` says so.

    Fields:
        loss_fn: `loss_fn(params, batch, key) -> (loss, aux)`, loss a real scalar, aux any pytree of arrays to report.
            With a carry (see `init`), for truncated backpropagation through time,
            `loss_fn(params, carry, batch, key) -> (loss, (carry, aux))`; no gradient flows into the carry, so it
            ends at the border of the segment (Williams & Peng, 1990, https://doi.org/10.1162/neco.1990.2.4.490).
        optimizer: Any of Optax that needs no more than gradients, parameters, `value`, `grad` and `value_fn`
            (`optax.contrib.sam` wants a function of its own, `optax.lookahead` gradients of another form).
        clip: Optax's clipping, which comes before the optimizer and is measured: `optax.clip_by_global_norm(c)`
            keeps the direction (Pascanu et al., 2013), `optax.clip(c)` bounds each entry. Default: none.
        patience: Updates skipped in a row after which the run stops. Default: 10.
        monitor: Measures gradient flow in the same backward pass, told as `Metrics.quantities`; `loss_fn` then takes
            one more argument `watch`, see `jaxrnn.gradients.Monitor`. Default: none.

    Raises:
        ValueError: `patience` is no whole number from 1 to 2^31 - 1; there are no parameters; the optimizer state is
            that of other parameters; the loss is no scalar.
        TypeError: `optimizer` or `clip` is none of Optax's; parameters are not floating point; `loss_fn` returns
            something else.

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
    monitor: Monitor | None = None

    def __post_init__(self):  # noqa: D105
        for name, example in (("optimizer", "optax.adam(1e-3)"), ("clip", "optax.clip_by_global_norm(1.0)")):
            value = getattr(self, name)
            if not callable(getattr(value, "init", None)) or not callable(getattr(value, "update", None)):
                raise TypeError(
                    f"Trainer: `{name}` must be a gradient transformation of Optax, got {value!r}. Give one such as "
                    f"{example}."
                )
        if not is_size(self.patience) or self.patience >= 2**31:
            raise ValueError(f"Trainer: `patience` must be a whole number from 1 to 2^31 - 1, got {self.patience!r}.")

    def init(self, params: PyTree, key, carry: PyTree = None) -> TrainState:
        """The state before the first update. All arrays are copied, so that donation deletes none of the caller's."""
        if not jax.tree.leaves(params):
            raise ValueError(f"Trainer.init: `params` hold no arrays, got {params!r}. Give what is to be trained.")
        for path, leaf in jax.tree_util.tree_leaves_with_path(params):
            if not hasattr(leaf, "dtype") or not jnp.issubdtype(leaf.dtype, jnp.inexact):
                raise TypeError(
                    f"Trainer.init: `params` must be floating point arrays, got {getattr(leaf, 'dtype', leaf)!r} at "
                    f"params{jax.tree_util.keystr(path)}. Keep what is not trained outside, in loss_fn; of a Flax "
                    "model take nnx.split(model, nnx.Param, ...)."
                )
        params, key, carry = copy((params, key, carry))
        counters = (jnp.zeros((), jnp.int32) for _ in range(3))
        return TrainState(params, copy(self._init_optimizer(params)), carry, key, *counters)

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
            return self._loss(params, state.carry, batch, key, *(() if self.monitor is None else (UNWATCHED,)))

        loss, (carry, aux), gradient, quantities = self._differentiate(state, batch, key)
        gradient = jax.tree.map(jnp.conj, gradient)  # of a complex parameter the conjugate points uphill
        updates, optimizer_state, clipped = self._optimize(loss_fn, loss, gradient, state)
        gradient_norm, clipped_norm, update_norm = (norm(tree) for tree in (gradient, clipped, updates))
        with jax.numpy_dtype_promotion("standard"):
            params = optax.apply_updates(state.params, updates)
        finite = (
            jnp.isfinite(loss)
            & jnp.isfinite(gradient_norm)
            & jnp.isfinite(update_norm)
            & ((clipped_norm > 0) | (gradient_norm == 0))
            & stays_finite((params, optimizer_state, carry), (state.params, state.optimizer_state, state.carry))
        )
        running = state.skipped_in_a_row < self.patience
        new = TrainState(
            params=keep(finite, params, state.params),
            optimizer_state=keep(finite, optimizer_state, state.optimizer_state),
            carry=keep(stays_finite(carry, state.carry), carry, state.carry),
            key=state.key,
            step=state.step + 1,
            skipped=state.skipped + (~finite).astype(jnp.int32),
            skipped_in_a_row=jnp.where(finite, 0, state.skipped_in_a_row + 1).astype(jnp.int32),
        )
        new = select(running, new, state)
        metrics = Metrics(
            loss=loss,
            gradient_norm=gradient_norm,
            clipped=finite & differ(clipped, gradient),
            clip_ratio=jnp.where(
                finite & (gradient_norm > 0), clipped_norm / gradient_norm, jnp.ones_like(gradient_norm)
            ),
            update_norm=update_norm,
            finite=finite,
            stopped=new.skipped_in_a_row >= self.patience,
            aux=aux,
            quantities=quantities,
        )
        return new, metrics

    def _differentiate(self, state: TrainState, batch, key):
        """(loss, (carry, aux), gradient, quantities), the last of them () without a monitor."""

        def loss_fn(params, *watch):
            return self._loss(params, state.carry, batch, key, *watch)

        if self.monitor is None:
            (loss, rest), gradient = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
            return loss, rest, gradient, ()
        found = self.monitor.value_and_grad(loss_fn, state.params, state.step)
        return found.loss, found.aux, found.gradient, found.quantities

    def _loss(self, params, carry, batch, key, *watch):
        before = (params,) if carry is None else (params, carry)
        found = self.loss_fn(*before, batch, key, *watch)
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
        with jax.numpy_dtype_promotion("standard"):
            return self.clip.init(params), self.optimizer.init(params)

    def _optimize(self, loss_fn, loss, gradient, state: TrainState):
        """(updates, optimizer state, clipped gradient), in JAX's standard promotion, which Optax is written for."""
        clip_state, optimizer_state = state.optimizer_state
        optimizer = optax.with_extra_args_support(self.optimizer)
        with jax.numpy_dtype_promotion("standard"):
            clipped, clip_state = self.clip.update(widen(gradient), clip_state, state.params)
            clipped = cast_like(clipped, gradient)
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
