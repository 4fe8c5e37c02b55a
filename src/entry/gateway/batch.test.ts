/** What belongs together, and that no message is lost or put into the wrong batch. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Frame } from '../../lib/pgwire/frame-reader.ts';
import * as say from '../../lib/pgwire/frontend-encode.ts';
import { BatchCollector, joinFrames, type Batch } from './batch.ts';
import { batchMessagesMax } from './limits.ts';

const frame = (whole: Buffer): Frame => new Frame(whole);
const parse = frame(say.encodeParse({ statement: '', sql: 'SELECT 1', parameterTypes: [] }));
const execute = frame(say.encodeExecute({ portal: '', rowsMax: 0 }));
const query = frame(say.encodeQuery('SELECT 1'));
const copyData = frame(say.encodeCopyData(Buffer.from('a')));
const sync = frame(say.encodeSync());
const flush = frame(say.encodeFlush());
const terminate = frame(say.encodeTerminate());

const show = (batch: Batch): string => (batch.kind === 'extended' ? `extended ${batch.frames.length} ${batch.end}` : batch.kind);
const rows: readonly (readonly [what: string, frames: readonly Frame[], batches: readonly string[]])[] = [
  ['a Query is its own batch', [query, query], ['query', 'query']],
  ['extended messages wait for Sync', [parse, execute], []],
  ['Sync ends a batch', [parse, execute, sync, parse, sync], ['extended 2 sync', 'extended 1 sync']],
  ['Flush ends a batch too', [parse, flush, execute, sync], ['extended 1 flush', 'extended 1 sync']],
  ['a lone Sync is a batch, for its ReadyForQuery', [sync], ['extended 0 sync']],
  ['a lone Flush asks for nothing', [flush], []],
  ['a Query behind extended messages does not wait for their Sync', [parse, execute, query], ['extended 2 open', 'query']],
  ['COPY data behind an Execute does not wait either', [parse, execute, copyData], ['extended 2 open', 'copy']],
  ['Terminate is seen behind anything', [parse, terminate], ['extended 1 open', 'terminate']],
];
for (const [what, frames, batches] of rows) {
  test(what, () => {
    const collector = new BatchCollector();
    assert.deepEqual(frames.flatMap((one) => collector.add(one)).map(show), batches);
  });
}

test('what is collected is bounded', () => {
  const collector = new BatchCollector();
  const batches: Batch[] = [];
  for (let at = 0; at <= batchMessagesMax; at += 1) batches.push(...collector.add(execute));
  assert.deepEqual(batches.map(show), ['too-large']);
  assert.ok(collector.isEmpty);
});

test('messages that lie side by side are forwarded as one piece without a copy, others joined', () => {
  const bytes = Buffer.concat([parse.whole, execute.whole]);
  const views = [new Frame(bytes, 0, parse.length), new Frame(bytes, parse.length)];
  const joined = joinFrames(views);
  assert.deepEqual(joined, bytes);
  assert.equal(joined.buffer, bytes.buffer);
  assert.deepEqual(joinFrames([views[0] ?? parse], views[1]), bytes);
  assert.equal(joinFrames([views[0] ?? parse], views[1]).buffer, bytes.buffer);
  assert.deepEqual(joinFrames([], parse), parse.whole);
  assert.deepEqual(joinFrames([parse, execute]), bytes);
  assert.deepEqual(joinFrames([parse], execute), bytes);
  assert.equal(joinFrames([]).length, 0);
});
