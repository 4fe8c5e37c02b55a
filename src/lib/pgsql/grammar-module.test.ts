/**
 * The grammar runs as its first compilation, however often it is used: the second would take each process 600 MB for a
 * moment, and would change how deep a statement may be nested while the gateway runs (H14).
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

/** Far more than V8 waits for before it compiles what is used much. */
const statements = 4_000;
const parserUrl = new URL('./parser.ts', import.meta.url).href;
const program = `
  const { loadParser } = await import('${parserUrl}');
  const parser = await loadParser(18);
  const parse = (i) => parser.parse('SELECT ' + i + ' FROM a WHERE b IN (SELECT c FROM d)');
  parse(0);
  console.log('one was parsed');
  for (let i = 1; i < ${statements}; i += 1) parse(i);
`;

test('nothing of the grammar is compiled again, however much is parsed', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--disable-warning=ExperimentalWarning', '--trace-wasm-compilation-times', '--input-type=module', '-e', program], { maxBuffer: 2 ** 24 });
  const [first = '', others] = stdout.split('one was parsed');
  assert.match(first, /using Liftoff/);
  // What the first compiler cannot do is done by the second one at once, and once.
  assert.doesNotMatch(others ?? 'nothing was parsed', /using TurboFan|nothing was parsed/);
});
