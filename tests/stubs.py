"""Workers in threads, where Ray's would be: the same class, the same bytes, no cluster."""

import queue
import random
from concurrent.futures import ThreadPoolExecutor

from esrun.training.hiring import Heard
from esrun.training.worker import Worker


class InThreads:
    """`count` workers, of which one is killed now and then: what it was at is lost."""

    def __init__(self, count, worker=Worker, deaths=0.0, seed=0):
        """`deaths`: the probability that an answer is the last thing that a worker would have
        said."""
        self.said, self.questions = [], []
        self.say = self.said.append
        self._count, self._worker, self._deaths = count, worker, deaths
        self._random, self._begun = random.Random(seed), 0
        self.there = {}
        self._answers, self._pool = queue.SimpleQueue(), ThreadPoolExecutor(8)

    def hire(self, on_cpu, refused):
        begun = []
        while len(self.there) < self._count - refused:
            self._begun += 1
            self.there[self._begun] = self._worker({})
            begun.append(self._begun)
        return begun

    def ask(self, who, method, contents):
        worker = self.there[who]
        self.questions.append((who, method, [len(x) for x in contents]))

        def answer():
            try:
                content, why = getattr(worker, method)(*contents), ""
            except Exception as error:
                content, why = None, str(error)
            if method == "work" and self._random.random() < self._deaths:
                content, why = None, "killed"
            self._answers.put(Heard(who, content, why))

        self._pool.submit(answer)

    def hear(self, seconds):
        heard = []
        try:
            heard.append(self._answers.get(timeout=max(seconds, 1e-4)))
            while True:
                heard.append(self._answers.get_nowait())
        except queue.Empty:
            return heard

    def share(self, content):
        return content

    def dismiss(self, who):
        self.there.pop(who, None)
