"""A peer in a process of its own, so that no library shares threads, memory or settings with another."""

import multiprocessing
import time
import traceback
from typing import Any

import jax
import numpy as np

from benchmarks import programs
from benchmarks.command import Failed
from benchmarks.environment import Device, use_device
from benchmarks.peers import PEERS
from benchmarks.problems import Data, Problem, draw

PEAK_RUNS = 7  # products, of which the fastest is told
TURN_S = 0.05  # one turn of a short program is as many runs as take so many seconds
LONG_S = 0.25  # of longer programs filling the caches again, after other processes, is no hundredth (estimated)
PATIENCE_S = 600  # for one answer


class Contestant:
    """Starts the process; what is asked of it is answered by the methods of Worker."""

    def __init__(self, peer: str, device: Device | None):
        """The process starts at once and is ready when it first answers."""
        self.peer = peer
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, peer, device), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, question: str, *arguments: Any) -> Any:
        """The answer of that method.

        Raises:
            Failed: it raised, its process ended, or it took too long, which ends it.
        """
        try:
            self._connection.send((question, arguments))
            if not self._connection.poll(PATIENCE_S):
                self.stop()  # or a late answer would be taken for that to the next question
                raise Failed(f"{self.peer}: no answer within {PATIENCE_S} s, asked to {question}.")
            good, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise Failed(f"{self.peer}: its process ended while it was asked to {question}.") from error
        if not good:
            raise Failed(f"{self.peer}, asked to {question}: {answer}")
        return answer

    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._process.is_alive()

    def stop(self) -> None:
        """Ends the process."""
        self._process.terminate()
        self._process.join(5)
        self._process.kill()
        self._connection.close()


class Worker:
    """What a contestant does in its process."""

    def __init__(self, peer: str):
        """Imports the library."""
        jax.config.update("jax_enable_compilation_cache", False)  # compile times are told
        self._peer = PEERS[peer].load()
        self._drawn: tuple[Problem, Data] | None = None
        self._program: programs.Program | None = None
        self._last = 0.0

    def ready(self) -> bool:
        """True, once the library is imported."""
        return True

    def prepare(self, problem: Problem, mode: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Makes the program: what it computes, as NumPy arrays in a tree, and what making it cost."""
        self._program = None  # the memory of the last one
        if self._drawn is None or self._drawn[0] != problem:
            self._drawn = problem, draw(problem)
        make = getattr(self._peer, "program", None)
        arguments = problem, self._drawn[1], mode
        program = make(*arguments) if make else programs.jax_program(self._peer, *arguments)
        results = jax.tree.map(np.asarray, program.results())
        for name in getattr(self._peer, "MISSING", {}).get(problem.cell, ()):
            if "params" in results:
                results["params"] = results["params"]._replace(**{name: None})
        self._program, self._last = program, TURN_S
        return results, {"compile_s": program.compile_s, "temporary": program.temporary}

    def run(self) -> float:
        """Seconds of a run as in a loop: unless it is long, after one that is not timed and fills the caches again."""
        assert self._program is not None
        repeats = max(1, round(TURN_S / max(self._last, 1e-5)))
        if self._last < LONG_S:
            self._program.run()
        begin = time.perf_counter()
        for _ in range(repeats):
            self._program.run()
        self._last = (time.perf_counter() - begin) / repeats
        return self._last

    def faults(self) -> int:
        """Minor page faults of one run."""
        assert self._program is not None
        return programs.faults_of(self._program.run)

    def peak(self, dtype: str) -> float:
        """Operations per second in a large product, the most that this machine was seen to do."""
        size = 2048 if jax.default_backend() == "cpu" else 8192
        a = jax.random.normal(jax.random.key(0), (size, size), dtype)
        product = jax.jit(lambda a: a @ a)
        taken = []
        for _ in range(PEAK_RUNS):
            begin = time.perf_counter()
            product(a).block_until_ready()
            taken.append(time.perf_counter() - begin)
        return 2 * size**3 / min(taken)


def _serve(connection, peer: str, device: Device | None) -> None:
    try:
        use_device(device)
        worker = Worker(peer)
        while True:
            question, arguments = connection.recv()
            try:
                answer = True, getattr(worker, question)(*arguments)
            except Exception:
                answer = False, traceback.format_exc()
            connection.send(answer)
    except (EOFError, KeyboardInterrupt):
        pass  # the command has ended
