// Counts words until it is told to end (Ctrl-C or SIGTERM), then finishes what it has begun.
//
// It lives on one `Work` stream: the queue sends leases as credit allows, and everything else goes the other way. What
// is not answered when a stream breaks is said again on the next one.

import * as grpc from "@grpc/grpc-js";
import type { Lease__Output } from "../generated/nova/queue/v1/Lease.ts";
import type { LeaseRef } from "../generated/nova/queue/v1/LeaseRef.ts";
import type { Settlement } from "../generated/nova/queue/v1/Settlement.ts";
import type { WorkResponse__Output } from "../generated/nova/queue/v1/WorkResponse.ts";
import { connect, KIND, QUEUE } from "./mesh.ts";

const PLACES = 4;
const LEASE_SECONDS = 30;
const PART = 2; // Words between two checkpoints; real work has more between them.

/** A failed attempt. */
class Failure extends Error {
  constructor(
    readonly reason: string,
    message: string,
    readonly permanent = false,
    readonly retryAfterMs?: number,
  ) {
    super(message);
  }
}

/** Puts the task off; the attempt does not count. */
class Snooze extends Error {
  constructor(readonly milliseconds: number) {
    super();
  }
}

/** The work itself: the number of words, and the most frequent one. */
async function count(
  task: { text: string; flaky?: boolean; wait_ms?: number },
  lease: Lease__Output,
  lost: AbortSignal,
) {
  const { seconds, nanos } = lease.task!.createTime!;
  const early = Number(seconds) * 1000 + Math.ceil(nanos / 1e6) + (task.wait_ms ?? 0) - Date.now();
  if (early > 0) throw new Snooze(early);
  const words = task.text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  const checkpoint = lease.task!.checkpoint.toString();
  const done: { words: number; counts: Record<string, number> } = JSON.parse(checkpoint || '{"words":0,"counts":{}}');
  const counts = new Map(Object.entries(done.counts));
  for (let begin = done.words; begin < words.length; begin += PART) {
    const end = Math.min(begin + PART, words.length);
    for (const word of words.slice(begin, end)) counts.set(word, (counts.get(word) ?? 0) + 1);
    await report(lease, end / words.length, { words: end, counts: Object.fromEntries(counts) });
    lost.throwIfAborted();
    if (task.flaky && lease.attempt === 1) throw new Failure("UNLUCKY", "the first attempt fails", false, 100);
  }
  const ranked = [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));
  if (ranked.length === 0) throw new Failure("NO_WORDS", "the text has no words", true);
  const [top, times] = ranked[0];
  return { words: [...counts.values()].reduce((sum, n) => sum + n), top, times };
}

/** Tells progress and leaves a checkpoint for the next attempt, which the queue has once this resolves. */
function report(lease: Lease__Output, fraction: number, checkpoint: unknown): Promise<void> {
  const progress = { fraction, note: "counting" };
  const said = { lease: refer(lease), progress, checkpoint: Buffer.from(JSON.stringify(checkpoint)) };
  const request = { reports: [said], leaseDuration: { seconds: LEASE_SECONDS } };
  return new Promise((resolve) => {
    client.Heartbeat(request, { deadline: Date.now() + 5000 }, (error, answer) => {
      // Without it the next attempt would only do more again.
      if (error) console.error(`no checkpoint: ${error.message}`);
      if (answer?.results[0]?.lost) lose(({ token }) => token === lease.token);
      resolve();
    });
  });
}

/** Runs an attempt; what it answers settles the lease, unless that was lost. */
async function attempt(lease: Lease__Output, lost: AbortSignal): Promise<Settlement | undefined> {
  const mine = refer(lease);
  try {
    if (lease.task?.kind !== KIND) {
      console.log(`handed back: ${lease.task?.kind} is for a newer worker`);
      throw new Snooze(5000);
    }
    const result = await count(JSON.parse(lease.task.payload.toString()), lease, lost);
    return { lease: mine, completed: Buffer.from(JSON.stringify(result)) };
  } catch (error) {
    if (lost.aborted) {
      console.log(`stopped: the lease of ${mine.taskId} is lost`);
      return undefined;
    }
    if (error instanceof Snooze) return { lease: mine, released: { delay: delay(error.milliseconds) } };
    const failure = error instanceof Failure ? error : new Failure("HANDLER_FAILED", String(error));
    const { reason, message, permanent, retryAfterMs } = failure;
    const retryAfter = retryAfterMs === undefined ? undefined : delay(retryAfterMs);
    return { lease: mine, failed: { error: { reason, message }, permanent, retryAfter } };
  }
}

function delay(milliseconds: number) {
  return { seconds: Math.floor(milliseconds / 1000), nanos: (milliseconds % 1000) * 1e6 };
}

const client = connect();
const running = new Map<string, { lease: LeaseRef; lost: AbortController }>(); // by token
const owed = new Map<string, Settlement>(); // by token: outcomes that the queue has not answered
let draining = false;
/** What is open, with the tokens of each settlement that it has not answered, in order. */
let stream: { call: ReturnType<typeof client.Work>; unanswered: string[][] } | undefined;

function open() {
  const call = client.Work();
  const mine = { call, unanswered: [] };
  stream = mine;
  const credit = draining ? 0 : PLACES - running.size;
  const leaseDuration = { seconds: LEASE_SECONDS };
  call.write({ open: { queues: [QUEUE], worker: "typescript", credit, leaseDuration } });
  heartbeat();
  settle([...owed.values()]);
  const beating = setInterval(heartbeat, (LEASE_SECONDS * 1000) / 3);
  const leave = () => {
    clearInterval(beating);
    if (stream !== mine) return;
    stream = undefined;
    if (!endWhenDone()) setTimeout(open, 500);
  };
  call.on("data", hear);
  call.on("error", (error: Error & { code?: number }) => {
    // Asking again does not help: the token has ended, is of another mesh, or may not do this.
    if (error.code === grpc.status.UNAUTHENTICATED || error.code === grpc.status.PERMISSION_DENIED) {
      console.error(`the queue refuses this worker: ${error.message}`);
      process.exit(1);
    }
    console.error(`the stream broke: ${error.message}`);
    leave();
  });
  call.on("end", leave);
}

function hear(response: WorkResponse__Output) {
  for (const lease of response.leases?.leases ?? []) void take(lease);
  for (const result of response.heartbeats?.results ?? []) {
    if (result.lost) lose((lease) => lease.taskId === result.taskId);
  }
  for (const lost of response.cancelled?.leases ?? []) lose((lease) => lease.token === lost.token);
  if (response.settled) stream?.unanswered.shift()?.forEach((token) => owed.delete(token));
  endWhenDone();
}

/** Works on a lease, whatever becomes of the stream that it came by: the next one settles it, too. */
async function take(lease: Lease__Output) {
  if (draining) return settle([{ lease: refer(lease), released: {} }]);
  const lost = new AbortController();
  running.set(lease.token, { lease: refer(lease), lost });
  const settlement = await attempt(lease, lost.signal);
  running.delete(lease.token);
  const credit = draining ? 0 : 1;
  if (settlement) {
    owed.set(lease.token, settlement);
    settle([settlement], credit);
  } else if (credit > 0) {
    stream?.call.write({ credit });
  }
  endWhenDone();
}

/** Says how leases end. Without a stream the next one does, when it opens. */
function settle(settlements: Settlement[], credit = 0) {
  if (!stream || settlements.length === 0) return;
  stream.unanswered.push(settlements.map((one) => String(one.lease!.token)));
  stream.call.write({ settle: { settlements, credit } });
}

function heartbeat() {
  const leases = [...running.values()].filter(({ lost }) => !lost.signal.aborted).map(({ lease }) => lease);
  if (leases.length > 0) stream?.call.write({ heartbeat: { leases } });
}

function lose(which: (lease: LeaseRef) => boolean) {
  for (const { lease, lost } of running.values()) if (which(lease)) lost.abort();
}

function refer(lease: Lease__Output): LeaseRef {
  return { taskId: lease.task!.id, token: lease.token };
}

function endWhenDone(): boolean {
  if (!draining || running.size > 0 || owed.size > 0) return false;
  console.log("drained");
  process.exit(0);
}

function drain() {
  draining = true;
  endWhenDone();
}

process.on("SIGTERM", drain);
process.on("SIGINT", drain);
open();
