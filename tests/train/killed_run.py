"""What test_checkpoint runs in other processes: a small run to be killed, and a save that does not fit the disk.

The run is an Adam update with noise, whose batch is a function of the position. All importing is done here, once, in
the fork server; nothing here may start JAX's backend, which does not survive a fork.
"""

import resource
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrnn.train.checkpoint import Checkpoints
from jaxrnn.train.state import TrainState

CONFIGURATION = {"learning_rate": 0.01, "batch": 4}
OPTIMIZER = optax.adam(CONFIGURATION["learning_rate"])


@jax.jit
def initial():
    params = {"w": jnp.ones((3, 2), jnp.float32), "b": jnp.zeros(2, jnp.float32)}
    zero = jnp.zeros((), jnp.int32)
    return TrainState(params, OPTIMIZER.init(params), None, jax.random.key(1), zero, zero, zero)


@jax.jit
def update(state):
    key, noise_key = jax.random.split(state.key)
    batch = jax.random.normal(jax.random.fold_in(state.key, state.step), (CONFIGURATION["batch"], 5), jnp.float32)
    noise = 0.1 * jax.random.normal(noise_key, (CONFIGURATION["batch"], 2), jnp.float32)

    def loss_fn(params):
        return jnp.mean((jnp.tanh(batch[:, :3] @ params["w"] + params["b"]) + noise - batch[:, 3:]) ** 2)

    loss, gradient = jax.value_and_grad(loss_fn)(state.params)
    updates, optimizer_state = OPTIMIZER.update(gradient, state.optimizer_state)
    params = optax.apply_updates(state.params, updates)
    return state._replace(params=params, optimizer_state=optimizer_state, key=key, step=state.step + 1), loss


def train(folder, until, every, cache, progress):
    """Resumes from the folder, or starts; tells each step over the connection `progress`."""
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_disable_most_optimizations", True)
    checkpoints = Checkpoints(folder, CONFIGURATION)
    state = checkpoints.restore(jax.eval_shape(initial))
    if state is None:
        state = initial()
    for step in range(int(state.step) + 1, until + 1):
        state, loss = update(state)
        progress.send(step)
        if step % every == 0:
            checkpoints.save(state, loss)


def save_on_a_full_disk(folder, step, answer):
    """No file may grow beyond 50 kB: the operating system itself refuses to write, as it does on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    params = np.random.default_rng(0).standard_normal(50_000)
    checkpoints = Checkpoints(folder, {"size": 3})
    try:
        checkpoints.save(TrainState(params, None, None, np.zeros(0), np.int32(step), np.int32(0), np.int32(0)))
        answer.send("saved")
    except OSError as error:
        answer.send(str(error))
