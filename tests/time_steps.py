"""Training batch by batch, in compiled steps, and the same steps on a constant batch: images a second, in turns in one run.

On a graphics card, in this order, each call within eight minutes (a network of this size compiles for about three):

    export KERAS_BACKEND=jax JAX_COMPILATION_CACHE_DIR=$HOME/.cache/leukonb-jax
    python tests/time_steps.py --parts agree,resume --size 128 --cells 512
    python tests/time_steps.py --parts after,constant --size 300 --batch 64
    python tests/time_steps.py --parts before,after,constant --size 300 --batch 64
    python tests/time_steps.py --parts after,constant --size 384 --batch 8
    python tests/time_steps.py --parts before,after,constant --size 384 --batch 8
    python tests/time_steps.py --parts after,constant --size 300 --batch 64 --handed
    XLA_FLAGS=--xla_gpu_deterministic_ops=false python tests/time_steps.py --parts after --size 300 --batch 64
"""

import argparse
import hashlib
import json
import threading
import time

import keras
import numpy as np
from keras import ops

from leukonb.data import phantom
from leukonb.data import pixels as stores
from leukonb.model import augment, network, steps, training


def draw_cells(count: int, size: int) -> tuple:
    """So many drawn cells of 16 people; each picture is drawn once at most 64 times and then repeated under another name."""
    pictures, table = phantom.sample_cohort(subjects=16, cells=4, size=size, seed=3)
    at = np.resize(np.arange(len(table)), count)
    names = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(count)]
    table = table.iloc[at].assign(cell=names).reset_index(drop=True)
    return table, stores.from_arrays(pictures[at], table)


class Bench:
    """Two networks of one start, one for each way."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        table, store = draw_cells(asked.cells, asked.size)
        device = training.describe_device()
        precision = device["precision"] if asked.precision == "auto" else asked.precision
        keras.config.set_dtype_policy(precision)
        self.net = network.Network(backbone=asked.backbone, size=asked.size, weights=None)
        self.recipe = training.TrainingRecipe(
            batch=asked.batch, epochs=100, augmentation=asked.augmentation, precision=precision
        )
        count = steps.count_steps(table, self.recipe.how, asked.batch)
        self.task = training._Task(self.recipe, table, table, store, 0, count)
        self.images, self.gpu = count * asked.batch, device["gpu"]
        self.epochs = dict.fromkeys(("before", "after"), 0)
        self.end = threading.Event()
        if "before" in asked.parts:
            self.plain = self.make()
        if {"after", "constant"} & {*asked.parts}:
            lessons = self.plan()
            self.learner = steps.Learner(self.make(), lessons)

    def plan(self) -> steps.Lessons:
        kept = False if self.asked.handed else None
        learning, store = self.task.learning, self.task.pixels
        return steps.plan_lessons(learning, store, self.recipe, 0, kept, self.asked.at_once or None)

    def make(self) -> keras.Model:
        return training.compile_network(self.net, self.recipe, self.gpu)

    def before(self) -> None:
        training._learn(self.plain, self.task, self.epochs["before"], self.end)
        self.epochs["before"] += 1

    def after(self) -> None:
        self.learner.learn(self.epochs["after"])
        self.epochs["after"] += 1

    def constant(self) -> None:
        """The compiled steps of an epoch, each dispatch with the same draws, which lie on the device."""
        lessons, run = self.learner.lessons, self.learner._run
        if run is None:
            self.learner.learn(0)
            run = self.learner._run
        if not hasattr(self, "draws"):
            self.draws = run.send(lessons.draw(lessons.order(0), 0, 0)[0])
        model, sums = self.learner.model, ops.zeros(4, "float32")
        state = {
            name: [ops.copy(v.value) for v in several] for name, several in steps._read_state(model).items()
        }
        for begin in range(0, lessons.steps, lessons.at_once):
            state, sums = run(state, sums, self.draws, min(lessons.at_once, lessons.steps - begin))
        ops.convert_to_numpy(sums)

    def rates(self) -> dict[str, list[float]]:
        """Images a second of each way, in turns, the first round apart: it compiles."""
        parts = [name for name in self.asked.parts if name in ("before", "after", "constant")]
        found: dict[str, list[float]] = {name: [] for name in parts}
        for i in range(self.asked.rounds + 1):
            for name in parts[:: 1 if i % 2 else -1]:
                began = time.perf_counter()
                getattr(self, name)()
                if i:
                    found[name].append(self.images / (time.perf_counter() - began))
                else:
                    print(f"first {name}: {time.perf_counter() - began:.1f} s", flush=True)
        return found


def agree(bench: Bench) -> dict:
    """The largest difference, in grey levels, between cells changed here and on the processor."""
    import jax

    lessons, rows = bench.plan(), bench.task.learning
    params = augment.draw_parameters("all", 1, 0, rows.cell[:64])
    changes = steps.prepare_changes(params, bench.asked.size)
    images, made = lessons.images(np.arange(64)), []
    for device in (jax.devices()[0], jax.devices("cpu")[0]):
        with jax.default_device(device):
            made.append(np.asarray(jax.jit(steps.change_images)(images, changes)))
    apart = np.abs(made[0] - made[1])
    return {"largest": float(apart.max()), "share over .01": float((apart > 0.01).mean())}


def resume(bench: Bench) -> dict:
    """Whether two epochs at once and one after the other end with the same bits; their digest, to compare processes by."""
    ends = []
    for stop in (False, True):
        learner = steps.Learner(bench.make(), bench.plan())
        training._reseed(learner.model, 0, 0)
        learner.learn(0)
        if stop:
            kept = [ops.convert_to_numpy(v) for v in training._variables(learner.model)]
            learner = steps.Learner(bench.make(), bench.plan())
            for variable, value in zip(training._variables(learner.model), kept):
                variable.assign(value)
        training._reseed(learner.model, 0, 1)
        learner.learn(1)
        held = b"".join(ops.convert_to_numpy(v).tobytes() for v in training._variables(learner.model))
        ends.append(hashlib.sha256(held).hexdigest()[:16])
    return {"same": ends[0] == ends[1], "digest": ends[0]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default="before,after,constant", type=lambda text: text.split(","))
    parser.add_argument("--backbone", default="EfficientNetV2B3")
    parser.add_argument("--augmentation", default="paper")
    parser.add_argument("--precision", default="auto")
    for name, default in (("size", 300), ("batch", 64), ("cells", 4096), ("rounds", 3), ("at-once", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--handed", action="store_true", help="images are handed over, not held on the device"
    )
    asked = parser.parse_args()
    bench = Bench(asked)
    said = {"device": training.describe_device(), **vars(asked)}
    for name, check in (("agree", agree), ("resume", resume)):
        if name in asked.parts:
            said[name] = check(bench)
            print(json.dumps({name: said[name]}), flush=True)
    said["images/s"] = rates = bench.rates()
    for one, other in (("after", "before"), ("after", "constant")):
        if rates.get(one) and rates.get(other):
            ratios = np.divide(rates[one], rates[other])
            said[f"{one}/{other}"] = [
                round(float(v), 3) for v in (np.median(ratios), *np.sort(ratios)[[0, -1]])
            ]
    print(json.dumps(said))


if __name__ == "__main__":
    main()
