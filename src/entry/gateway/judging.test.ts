/** A judgement that is stopped waits for nothing more, and the next one knows nothing of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../../core/failure.ts';
import { Judging } from './judging.ts';

const never = new Promise<never>(() => { /* an answer that does not come */ });
const isCancelled = (error: unknown): boolean => error instanceof Failure && error.code === 'cancelled';

test('what answers in time is the answer, and its error the error', async () => {
  const judging = new Judging();
  assert.equal(await judging.unlessStopped(Promise.resolve(7)), 7);
  await assert.rejects(judging.unlessStopped(Promise.reject(new Error('no'))), /no/);
});

test('a stop ends what is waited for, and what is asked for afterwards', async () => {
  const judging = new Judging();
  const work = judging.during(judging.unlessStopped(never));
  judging.stop();
  assert.ok(judging.isStopped);
  await assert.rejects(judging.unlessStopped(Promise.resolve(1)), isCancelled);
  await assert.rejects(work, isCancelled);
  await judging.ended;
  assert.deepEqual([judging.isUnderWay, judging.isStopped], [false, false]);
  assert.equal(await judging.unlessStopped(Promise.resolve(2)), 2);
});

test('it is under way until its work is done, whatever became of it', async () => {
  const judging = new Judging();
  let done = (): void => undefined;
  const work = judging.during(new Promise((resolve) => { done = resolve; }));
  assert.ok(judging.isUnderWay);
  done();
  await judging.ended;
  await work;
  assert.ok(!judging.isUnderWay);
});
