"""Drives Celery: reads a job a line on standard input, answers what came of it on standard output.

python bench.py PORT PAYLOAD

Tasks tell this process that they ran, and how long they took to arrive, through a pipe: no result backend.
"""

import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time

from celery import Celery

PORT, PAYLOAD = (int(part) for part in sys.argv[-2:]) if __name__ == "__main__" else (0, 0)
PROCESSES = 2  # as many as the machine that the bench was made for has cores
PRODUCERS = 4
RECORD = struct.Struct("<d")

app = Celery("bench", broker=f"redis://127.0.0.1:{os.environ.get('BENCH_PORT', PORT)}/0", set_as_current=True)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=64,
    worker_send_task_events=False,
    broker_pool_limit=PRODUCERS + 1,
    broker_connection_retry_on_startup=True,
    task_default_queue="bench",
)

pipe = None


@app.task(name="bench")
def bench(began, body):
    global pipe
    if pipe is None:
        pipe = os.open(os.environ["BENCH_PIPE"], os.O_WRONLY)
    os.write(pipe, RECORD.pack(time.monotonic() - began))


def spread(times):
    if not times:
        return None
    ordered = sorted(times)
    at = lambda share: 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))]
    return {"p50": at(0.5), "p99": at(0.99)}


class Worker:
    """A worker process, and what its tasks tell."""

    def __init__(self, concurrency):
        self.starts = []
        self.last = 0.0
        self.path = f"{os.getcwd()}/bench-{os.getpid()}.pipe"
        os.mkfifo(self.path)
        self.pipe = os.open(self.path, os.O_RDWR)
        environment = dict(os.environ, BENCH_PIPE=self.path, BENCH_PORT=str(PORT), PYTHONWARNINGS="ignore")
        command = [sys.executable, "-m", "celery", "--quiet", "-A", "bench", "worker", "--pool", "prefork"]
        command += ["--concurrency", str(concurrency), "--loglevel", "ERROR"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    def until(self, done):
        """Reads what tasks tell until `done(count)`."""
        while not done(len(self.starts)):
            ready, _, _ = select.select([self.pipe], [], [], 0.02)
            if not ready:
                if self.process.poll() is not None:
                    raise RuntimeError(f"the worker ended with {self.process.returncode}")
                continue
            records = os.read(self.pipe, RECORD.size * 4096)
            self.starts.extend(value for (value,) in RECORD.iter_unpack(records))
            self.last = time.monotonic()

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        while select.select([self.pipe], [], [], 0)[0]:
            self.starts.extend(v for (v,) in RECORD.iter_unpack(os.read(self.pipe, RECORD.size * 4096)))
        os.close(self.pipe)
        os.unlink(self.path)


def produce(job):
    """Enqueues with a few threads: more would wait for each other in the interpreter."""
    threads = min(job["callers"], PRODUCERS)
    batch, rate = job["batch"], job.get("per_second")
    end = time.monotonic() + job["seconds"] if "seconds" in job else float("inf")
    left, lock = [job.get("tasks", float("inf"))], threading.Lock()
    times, failures, body = [], [], "x" * (PAYLOAD - 18)

    def take():
        with lock:
            size = min(batch, left[0])
            left[0] -= size
            return size

    def call(number):
        every = threads / rate if rate else 0
        due = time.monotonic() + every * number / threads
        while True:
            now = began = time.monotonic()
            if rate:
                if now < due:
                    time.sleep(due - now)
                began = time.monotonic() if now < due else due
                due += every
            size = take() if began < end else 0
            if size == 0:
                return
            for _ in range(int(size)):
                bench.apply_async((began, body))
            times.append((time.monotonic() - began, size))

    def guarded(number):
        try:
            call(number)
        except Exception as error:
            failures.append(error)

    callers = [threading.Thread(target=guarded, args=(number,)) for number in range(threads)]
    [caller.start() for caller in callers]
    [caller.join() for caller in callers]
    if failures:
        raise failures[0]
    return int(sum(size for _, size in times)), [took for took, _ in times]


idle = None


def rest(worker=None):
    """Keeps a worker for the next lives: one that is up takes memory, and comes up once."""
    global idle
    if idle is not None and idle is not worker:
        idle.close()
    idle = worker


def lives(job):
    worker = idle or Worker(PROCESSES)
    rest(worker)
    # A task that comes through says that the worker is up.
    worker.starts.clear()
    bench.apply_async((time.monotonic(), ""))
    worker.until(lambda count: count >= 1)
    worker.starts.clear()
    began, produced = time.monotonic(), []
    producer = threading.Thread(target=lambda: produced.append(produce(job)))
    producer.start()
    worker.until(lambda count: not producer.is_alive() and (not produced or count >= produced[0][0]))
    if not produced:
        raise RuntimeError("its producers failed")
    enqueued, times = produced[0]
    if len(worker.starts) != enqueued:
        raise RuntimeError(f"{len(worker.starts)} completed of {enqueued}")
    took = worker.last - began
    return dict(enqueued=enqueued, completed=enqueued, seconds=took, enqueue=spread(times), start=spread(worker.starts))


def add(job):
    rest()
    began = time.monotonic()
    enqueued, times = produce(job)
    return dict(enqueued=enqueued, completed=0, seconds=time.monotonic() - began, enqueue=spread(times))


def work(job):
    rest()
    worker = Worker(job["concurrency"])
    try:
        # From the first task on: a worker takes a second to come up.
        worker.until(lambda count: count >= 1)
        began, early = worker.last, len(worker.starts)
        worker.until(lambda count: count >= job["tasks"])
        timed = len(worker.starts) - early
        took = (worker.last - began) * len(worker.starts) / max(timed, 1)
    finally:
        worker.close()
    return dict(enqueued=0, completed=len(worker.starts), seconds=took)


def main():
    jobs = {"lives": lives, "add": add, "work": work}
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = jobs[job["do"]](job)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    rest()


if __name__ == "__main__":
    main()
