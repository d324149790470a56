// Drives BullMQ: reads a job a line on standard input, answers what came of it on standard output.
//
// node bench.mjs PORT PAYLOAD
import { createInterface } from 'node:readline';
import { Queue, Worker } from 'bullmq';

const [port, bytes] = process.argv.slice(2).map(Number);
const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
const CONCURRENCY = 128;
const NAME = 'bench';
const body = 'x'.repeat(bytes - 24); // with the time of its call the payload is as large as everybody's

const queue = new Queue(NAME, { connection, defaultJobOptions: { removeOnComplete: true, removeOnFail: true } });
await queue.waitUntilReady();

const seconds = (since) => (performance.now() - since) / 1000;

function spread(times) {
  if (times.length === 0) return undefined;
  const sorted = Float64Array.from(times).sort();
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return { p50: at(0.5), p99: at(0.99) };
}

// Works until it is stopped; `until(count)` waits for as many completions, and tells when the last one came.
async function open(concurrency) {
  const starts = [];
  const seen = { completed: 0, last: 0, wake: () => {} };
  const process = async (job) => void starts.push(performance.now() - job.data.began);
  const worker = new Worker(NAME, process, { connection, concurrency, autorun: false });
  worker.on('error', (error) => console.error(error));
  worker.on('completed', () => {
    seen.completed += 1;
    seen.last = performance.now();
    seen.wake();
  });
  await worker.waitUntilReady();
  const run = () => void worker.run().catch((error) => console.error(error));
  const until = async (count) => {
    while (seen.completed < count) await new Promise((wake) => (seen.wake = wake));
    return seen.last;
  };
  return { worker, run, until, seen, starts };
}

const task = (began) => ({ began, body });

async function enqueue(batch, began) {
  if (batch === 1) await queue.add(NAME, task(began));
  else await queue.addBulk(Array.from({ length: batch }, () => ({ name: NAME, data: task(began) })));
}

// One caller after the other begins; a call that is late began when it was due.
function turns(callers, number, perSecond) {
  if (!perSecond) return async () => performance.now();
  const every = (1000 * callers) / perSecond;
  let next = performance.now() + (every * number) / callers;
  return async () => {
    const due = next;
    next += every;
    const wait = due - performance.now();
    if (wait <= 0) return due;
    await new Promise((wake) => setTimeout(wake, wait));
    return performance.now();
  };
}

async function produce({ callers, batch, per_second: perSecond, seconds: span, tasks }) {
  const end = span === undefined ? Infinity : performance.now() + span * 1000;
  let left = tasks ?? Infinity;
  const times = [];
  let enqueued = 0;
  const caller = async (_, number) => {
    const turn = turns(callers, number, perSecond);
    for (;;) {
      const began = await turn();
      const size = Math.min(batch, left);
      if (began >= end || size === 0) return;
      left -= size;
      await enqueue(size, began);
      times.push(performance.now() - began);
      enqueued += size;
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return { enqueued, times };
}

const jobs = {
  async lives(job) {
    const { worker, run, until, seen, starts } = await open(CONCURRENCY);
    run();
    const began = performance.now();
    const { enqueued, times } = await produce(job);
    const last = await until(enqueued);
    await worker.close();
    if (seen.completed !== enqueued) throw new Error(`${seen.completed} completed of ${enqueued}`);
    const took = (last - began) / 1000;
    return { enqueued, completed: seen.completed, seconds: took, enqueue: spread(times), start: spread(starts) };
  },
  async add(job) {
    const began = performance.now();
    const { enqueued, times } = await produce(job);
    return { enqueued, completed: 0, seconds: seconds(began), enqueue: spread(times) };
  },
  async work({ concurrency, tasks }) {
    const { worker, run, until, seen } = await open(concurrency);
    const began = performance.now();
    run();
    await until(tasks);
    // Some more are completed before it has closed: they took as long as the others.
    const each = seconds(began) / seen.completed;
    await worker.close();
    return { enqueued: 0, completed: seen.completed, seconds: each * seen.completed };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  const answer = await jobs[job.do](job).catch((error) => ({ error: String(error) }));
  console.log(JSON.stringify(answer));
}
process.exit(0);
