"""Enqueues one task and waits for its result: producer.py TEXT."""

import json
import sys
import time

from mesh import KIND, QUEUE, connect
from nova.queue.v1 import queue_pb2 as queue

ENDED = (queue.TASK_STATE_COMPLETED, queue.TASK_STATE_DEAD, queue.TASK_STATE_CANCELLED)

channel, stub = connect()
with channel:
    payload = json.dumps({"text": sys.argv[1], "flaky": True}).encode()
    task = queue.NewTask(queue=QUEUE, kind=KIND, payload=payload, metadata={"example": "python"})
    stored = stub.Enqueue(queue.EnqueueRequest(tasks=[task]), timeout=10).tasks[0]
    while True:
        task = stub.GetTask(queue.GetTaskRequest(task_id=stored.id), timeout=10).task
        if task.state in ENDED:
            break
        time.sleep(0.1)

if task.state != queue.TASK_STATE_COMPLETED:
    sys.exit(f"the task is {queue.TaskState.Name(task.state)}: {task.last_error}")
print(f"attempt {task.attempts}: {task.result.decode()}")
