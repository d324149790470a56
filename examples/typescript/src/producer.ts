// Enqueues one task and waits for its result: `npm run producer -- TEXT`.

import { createHash } from "node:crypto";
import type { ServiceError } from "@grpc/grpc-js";
import { connect, KIND, QUEUE } from "./mesh.ts";

const text = process.argv[2];
if (text === undefined) {
  console.error("usage: npm run producer -- TEXT");
  process.exit(2);
}
const client = connect();

/** A call as a promise. */
function call<Q, A>(method: (request: Q, done: (error: ServiceError | null, answer?: A) => void) => unknown, request: Q) {
  return new Promise<A>((resolve, reject) => {
    method.call(client, request, (error, answer) => (error ? reject(error) : resolve(answer!)));
  });
}

const payload = Buffer.from(JSON.stringify({ text, flaky: true, wait_ms: 500 }));
// The same text is the same task, however often it is sent: after a call without an answer, or from another producer.
const requestId = `typescript-${createHash("sha256").update(text).digest("hex")}`;
const task = { queue: QUEUE, kind: KIND, payload, requestId, metadata: { example: "typescript" } };
const stored = await call(client.Enqueue, { tasks: [task] });
for (;;) {
  // Each call waits for the end of the task, ten seconds at most.
  const { task } = await call(client.GetTask, { taskId: stored.tasks[0].id, wait: { seconds: 10 } });
  if (task?.state === "TASK_STATE_COMPLETED") {
    console.log(`attempt ${task.attempts}: ${task.result.toString()}`);
    break;
  }
  if (task?.state === "TASK_STATE_DEAD" || task?.state === "TASK_STATE_CANCELLED") {
    console.error(`the task is ${task.state}: ${task.lastError?.message}`);
    process.exitCode = 1;
    break;
  }
}
client.close();
