// Whole job lives of BullMQ: add, process, complete; each counted.
//
// node bench.mjs unary|batched PORT SECONDS PAYLOAD CONCURRENCY
// `unary` runs 128, then 256 adders of one job a call; `batched` runs 8 adders of 64 jobs a call. Producers and
// worker run at once, in one process; then `apart`, as bullmq-bench does: all jobs are added, then worked.
import { Queue, Worker } from 'bullmq';

const [mode, port, seconds, bytes, concurrency] = process.argv.slice(2).map((part, at) => (at ? Number(part) : part));
const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
const data = { body: 'x'.repeat(bytes) };
const options = { removeOnComplete: true, removeOnFail: true };
const job = { name: 'bench', data, opts: options };

const print = (scenario, metric, value) => console.log(JSON.stringify({ scenario, metric, value }));
const percentile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

let queues = 0;

async function open(autorun) {
  const name = `bench-${process.pid}-${queues++}`;
  const queue = new Queue(name, { connection, defaultJobOptions: options });
  await queue.waitUntilReady();
  const seen = { completed: 0, wake: () => {} };
  const worker = new Worker(name, async () => 0, { connection, concurrency, autorun });
  worker.on('completed', () => {
    seen.completed += 1;
    seen.wake();
  });
  worker.on('error', (error) => console.error(error));
  await worker.waitUntilReady();
  const until = async (count) => {
    while (seen.completed < count) await new Promise((wake) => (seen.wake = wake));
    if (seen.completed !== count) throw new Error(`${seen.completed} completed of ${count}`);
  };
  const close = async () => {
    await worker.close();
    await queue.close();
  };
  return { queue, worker, until, close };
}

async function add(queue, adders, batch, span) {
  const end = performance.now() + span * 1000;
  const times = [];
  let added = 0;
  const adder = async () => {
    for (let now = performance.now(); now < end; now = performance.now()) {
      if (batch === 1) await queue.add(job.name, data);
      else await queue.addBulk(Array.from({ length: batch }, () => job));
      times.push(performance.now() - now);
      added += batch;
    }
  };
  await Promise.all(Array.from({ length: adders }, adder));
  times.sort((left, right) => left - right);
  return { added, times };
}

async function together(adders, batch, span) {
  const { queue, until, close } = await open(true);
  const start = performance.now();
  const { added, times } = await add(queue, adders, batch, span);
  await until(added);
  const rate = added / ((performance.now() - start) / 1000);
  await close();
  return { rate, times };
}

async function apart(adders, batch, span) {
  const { queue, worker, until, close } = await open(false);
  const start = performance.now();
  const { added } = await add(queue, adders, batch, span);
  worker.run().catch((error) => console.error(error));
  await until(added);
  const rate = added / ((performance.now() - start) / 1000);
  await close();
  return rate;
}

async function measure(scenario, adders, batch) {
  await together(adders, batch, 1);
  const { rate, times } = await together(adders, batch, seconds);
  print(scenario, 'lives_per_second', rate);
  print(scenario, 'enqueue_p50', percentile(times, 0.5));
  print(scenario, 'enqueue_p99', percentile(times, 0.99));
}

if (mode === 'unary') {
  await measure('unary-128', 128, 1);
  await measure('unary-256', 256, 1);
} else {
  await measure('batched-64', 8, 64);
  print('apart-64', 'lives_per_second', await apart(8, 64, seconds));
}
process.exit(0);
