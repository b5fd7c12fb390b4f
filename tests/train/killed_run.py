"""What test_checkpoint runs in other processes: a small run to be killed, and a save that does not fit the disk.

The run is the kit's own, with noise from the key and batches that are a function of the position. All importing is
done here, once, in the fork server; nothing here may start JAX's backend, which does not survive a fork.
"""

import resource
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrnn.train import Checkpoints, MetricsLog, Trainer, TrainState, run

CONFIGURATION = {"learning_rate": 0.01, "batch": 4}


def loss_fn(params, batch, key):
    noise = 0.1 * jax.random.normal(key, (CONFIGURATION["batch"], 2), jnp.float32)
    predicted = jnp.tanh(batch[:, :3] @ params["w"] + params["b"]) + noise
    return jnp.mean((predicted - batch[:, 3:]) ** 2), {"noise": noise[0, 0]}


TRAINER = Trainer(loss_fn, optax.adam(CONFIGURATION["learning_rate"]), clip=optax.clip_by_global_norm(1.0))


@jax.jit
def initial():
    params = {"w": jnp.ones((3, 2), jnp.float32), "b": jnp.zeros(2, jnp.float32)}
    return TRAINER.init(params, jax.random.key(1))


def batch_at(position):
    return np.random.default_rng(position).standard_normal((CONFIGURATION["batch"], 5), np.float32)


def size(state):
    return float(np.abs(state.params["w"]).sum())


def train(folder, until, every, cache, progress):
    """Resumes from the folder, or starts; tells the beginning of each step over the connection `progress`."""
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_disable_most_optimizations", True)

    def tell_and_make(position):
        progress.send(position)
        return batch_at(position)

    checkpoints = Checkpoints(folder, CONFIGURATION)
    state = checkpoints.restore(jax.eval_shape(initial))
    if state is None:
        state = initial()
    with MetricsLog(Path(folder, "log.jsonl"), step=int(state.step)) as log:
        run(TRAINER, state, tell_and_make, until, every=every, evaluate=size, checkpoints=checkpoints, log=log)


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
