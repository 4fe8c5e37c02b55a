/** What Node has compiled of the program is kept, by both of the ways in that are not npm's own, so that a later start finds it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const kept = join(root, 'node_modules', '.cache', 'backstop');
/** The program is some hundreds of files; a command may do without some. */
const filesMin = 100;

for (const [program, ...args] of [['bin/backstop'], [process.execPath, 'scripts/bootstrap.mjs', 'src/main.ts']] as const) {
  test(`${args[0] ?? program} keeps what was compiled for a later start`, async () => {
    rmSync(kept, { recursive: true, force: true });
    const { NODE_COMPILE_CACHE: _chosen, ...env } = process.env;
    const { stdout } = await promisify(execFile)(program, [...args, 'version'], { cwd: root, env });
    assert.match(stdout, /^backstop \d/);
    assert.ok(existsSync(kept));
    const files = readdirSync(kept, { recursive: true }).length;
    assert.ok(files > filesMin, `only ${files} files are kept`);
  });
}
