"""Counts words until it is told to end (Ctrl-C or SIGTERM), then finishes what it has begun.

It leases one task at a time with plain calls; a thread of its own keeps the lease while the work is done.
"""

import json
import re
import signal
import sys
import threading
import time
from collections import Counter

import grpc

from mesh import KIND, QUEUE, connect
from nova.queue.v1 import queue_pb2 as queue, task_pb2 as tasks, work_pb2 as work

LEASE_SECONDS = 30
PART = 2  # Words between two checkpoints; real work has more between them.
# Asking again does not help: the token has ended, is of another mesh, or may not do this.
REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
stop = threading.Event()


class Failure(Exception):
    """A failed attempt."""

    def __init__(self, reason, message, permanent=False, retry_after=None):
        super().__init__(message)
        self.reason, self.permanent, self.retry_after = reason, permanent, retry_after


class Snooze(Exception):
    """Puts the task off; the attempt does not count."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds


class LeaseLost(Exception):
    """The task is somebody else's by now, or nobody's: there is nothing more to do, and nothing to settle."""


def count(task, lease, report):
    """The work itself: the number of words, and the most frequent one."""
    early = (lease.task.create_time.ToMilliseconds() + task.get("wait_ms", 0)) / 1000 - time.time()
    if early > 0:
        raise Snooze(early)
    words = re.findall(r"[^\W_]+", task["text"].lower())
    done = json.loads(lease.task.checkpoint or b'{"words": 0, "counts": {}}')
    counts = Counter(done["counts"])
    for begin in range(done["words"], len(words), PART):
        end = min(begin + PART, len(words))
        counts.update(words[begin:end])
        # The next attempt goes on from here. This one ends here when its lease is lost.
        report(end / len(words), "counting", json.dumps({"words": end, "counts": counts}).encode())
        if task.get("flaky") and lease.attempt == 1:
            raise Failure("UNLUCKY", "the first attempt fails", retry_after=0.1)
    if not counts:
        raise Failure("NO_WORDS", "the text has no words", permanent=True)
    top, times = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return {"words": counts.total(), "top": top, "times": times}


class Heartbeat(threading.Thread):
    """Keeps a lease until it is done; `lost` is set when the queue has taken it away."""

    def __init__(self, stub, lease):
        super().__init__(daemon=True)
        self.stub, self.lease = stub, lease
        self.done, self.lost = threading.Event(), threading.Event()

    def run(self):
        while not self.done.wait(LEASE_SECONDS / 3):
            try:
                answer = self.stub.Heartbeat(heartbeat(leases=[self.lease]), timeout=5)
            except grpc.RpcError:
                continue  # The next one may be heard: the lease outlives two that are not.
            if answer.results[0].lost:
                self.lost.set()
                return


def heartbeat(**what):
    """A request that extends leases by as much as was leased."""
    request = work.HeartbeatRequest(**what)
    request.lease_duration.FromSeconds(LEASE_SECONDS)
    return request


def reporter(stub, lease, lost):
    """Tells progress and leaves a checkpoint, which the queue has once this returns."""

    def report(fraction, note, checkpoint):
        progress = tasks.Progress(fraction=fraction, note=note)
        said = work.LeaseReport(lease=lease, progress=progress, checkpoint=checkpoint)
        try:
            if stub.Heartbeat(heartbeat(reports=[said]), timeout=5).results[0].lost:
                lost.set()
        except grpc.RpcError as error:
            # The next attempt would only do more again.
            print(f"no checkpoint: {error.code().name}", flush=True)
        if lost.is_set():
            raise LeaseLost()

    return report


def attempt(stub, lease):
    """Does one task, and settles it under the token of its lease."""
    mine = work.LeaseRef(task_id=lease.task.id, token=lease.token)
    beating = Heartbeat(stub, mine)
    beating.start()
    try:
        if lease.task.kind != KIND:
            print(f"handed back: {lease.task.kind} is for a newer worker", flush=True)
            raise Snooze(5)
        task, report = json.loads(lease.task.payload), reporter(stub, mine, beating.lost)
        result = count(task, lease, report)
        settle = queue.CompleteRequest(lease=mine, result=json.dumps(result).encode())
    except LeaseLost:
        print(f"stopped: the lease of {mine.task_id} is lost", flush=True)
        return
    except Snooze as snooze:
        settle = queue.ReleaseRequest(lease=mine)
        settle.delay.FromMilliseconds(max(1, int(snooze.seconds * 1000)))
    except Failure as failure:
        settle = fail(mine, failure)
    except Exception as error:  # A bug is a failed attempt, not the end of the worker.
        settle = fail(mine, Failure("HANDLER_FAILED", repr(error)))
    finally:
        beating.done.set()
    if not beating.lost.is_set():
        calls = {queue.CompleteRequest: stub.Complete, queue.ReleaseRequest: stub.Release}
        send(calls.get(type(settle), stub.Fail), settle)


def fail(lease, failure):
    error = tasks.TaskError(reason=failure.reason, message=str(failure))
    request = queue.FailRequest(lease=lease, error=error, permanent=failure.permanent)
    if failure.retry_after is not None:
        request.retry_after.FromMilliseconds(int(failure.retry_after * 1000))
    return request


def send(call, settlement):
    """Settling is idempotent: it is repeated until it is answered, or the lease is lost."""
    while True:
        try:
            call(settlement, timeout=5)
            return
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                print(f"not settled: {error.code().name}: {error.details()}", flush=True)
                return
            stop.wait(0.5)


def main():
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stop.set())
    channel, stub = connect()
    ask = queue.LeaseRequest(queues=[QUEUE], worker="python")
    ask.lease_duration.FromSeconds(LEASE_SECONDS)
    ask.wait.FromSeconds(1)
    with channel:
        while not stop.is_set():
            try:
                leases = stub.Lease(ask, timeout=10).leases
            except grpc.RpcError as error:
                if error.code() in REFUSED:
                    sys.exit(f"the queue refuses this worker: {error.code().name}: {error.details()}")
                print(f"no lease: {error.code().name}", flush=True)
                stop.wait(0.5)
                continue
            for lease in leases:
                attempt(stub, lease)
    print("drained", flush=True)


if __name__ == "__main__":
    main()
