/** A cancel request strikes what the client waits for, once, and holds back what comes next until the server has acted on it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLog } from '../../lib/log.ts';
import { Cancelling } from './cancelling.ts';

interface Scene { isUnderWay: boolean; isAsking: boolean; isOwnCall: boolean; isCancellable: boolean; stopped: number; readonly acted: (() => void)[]; sent: number }

function begin(given: Partial<Scene>): { readonly scene: Scene; readonly cancelling: Cancelling } {
  const scene: Scene = { isUnderWay: false, isAsking: false, isOwnCall: false, isCancellable: false, stopped: 0, acted: [], sent: 0, ...given };
  const cancelling = new Cancelling({
    link: { get isAsking() { return scene.isAsking; }, cancel: () => new Promise((resolve) => { scene.acted.push(resolve); }) },
    replies: scene, judging: { get isUnderWay() { return scene.isUnderWay; }, stop: () => { scene.stopped += 1; } },
    log: createLog({ level: 'silent' }), onSent: () => { scene.sent += 1; },
  });
  return { scene, cancelling };
}

const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve); });

test('of nothing is forgotten', () => {
  const { scene, cancelling } = begin({});
  cancelling.request();
  scene.isCancellable = true;
  cancelling.answered();
  assert.deepEqual([scene.acted.length, scene.stopped, cancelling.isSending], [0, 0, false]);
});

test('of what runs is sent once, and is over when the server has acted', async () => {
  const { scene, cancelling } = begin({ isCancellable: true });
  cancelling.request();
  cancelling.request();
  assert.deepEqual([scene.acted.length, cancelling.isSending, scene.sent], [1, true, 0]);
  scene.acted[0]?.();
  await turn();
  assert.deepEqual([cancelling.isSending, scene.sent], [false, 1]);
});

test('of a call of our own waits for the client\'s statement behind it, and is forgotten if there is none', () => {
  const { scene, cancelling } = begin({ isOwnCall: true, isCancellable: true });
  cancelling.request();
  cancelling.answered();
  assert.equal(scene.acted.length, 0);
  scene.isOwnCall = false;
  cancelling.answered();
  cancelling.answered();
  assert.equal(scene.acted.length, 1);
  const other = begin({ isOwnCall: true });
  other.cancelling.request();
  other.scene.isOwnCall = false;
  other.cancelling.answered();
  assert.equal(other.scene.acted.length, 0);
});

test('of a judgement stops it, and reaches the server only for a question in the client\'s own session', () => {
  const { scene, cancelling } = begin({ isUnderWay: true });
  cancelling.request();
  assert.deepEqual([scene.stopped, scene.acted.length], [1, 0]);
  scene.isAsking = true;
  cancelling.request();
  assert.deepEqual([scene.stopped, scene.acted.length], [2, 1]);
});
