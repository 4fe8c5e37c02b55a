/**
 * The package as npm would publish it: packed, installed from its tarball into a folder of its own, and run there. Its
 * dependencies come from npm's cache where they are in it.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { z } from 'zod';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const packed = z.array(z.object({ filename: z.string(), files: z.array(z.object({ path: z.string() })) })).length(1);
/** Node 24 first, whatever started the tests; no setting of ours from outside. */
const path = [dirname(process.execPath), process.env['PATH'] ?? ''].join(delimiter);
const env = { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BACKSTOP_'))), PATH: path };

interface Ran { readonly code: number; readonly stdout: string; readonly stderr: string }

async function runTool(command: string, args: readonly string[], options: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv }): Promise<Ran> {
  try {
    return { code: 0, ...await run(command, [...args], { ...options, env: options.env ?? env, maxBuffer: 50_000_000 }) };
  } catch (error) {
    const failed = z.object({ code: z.number(), stdout: z.string(), stderr: z.string() }).parse(error);
    return { code: failed.code, stdout: failed.stdout, stderr: failed.stderr };
  }
}

describe('the package', () => {
  const folder = mkdtempSync(join(tmpdir(), 'backstop-test-package-'));
  const home = join(folder, 'app');
  const backstop = join(home, 'node_modules/.bin/backstop');
  let files: readonly string[] = [];

  before(async () => {
    const pack = await runTool('npm', ['pack', '--json', '--pack-destination', folder], { cwd: root });
    assert.equal(pack.code, 0, pack.stderr);
    const [tarball] = packed.parse(JSON.parse(pack.stdout.slice(pack.stdout.indexOf('[\n'))));
    files = tarball?.files.map((file) => file.path) ?? [];
    mkdirSync(home);
    writeFileSync(join(home, 'package.json'), '{"name":"app","version":"1.0.0","private":true}');
    const install = await runTool('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--omit=dev', join(folder, tarball?.filename ?? '')], { cwd: home });
    assert.equal(install.code, 0, install.stderr);
  });
  after(() => { rmSync(folder, { recursive: true, force: true }); });

  test('holds what it runs from, and no test or source of ours', () => {
    for (const needed of ['bin/backstop', 'dist/main.js', 'LICENSE', 'README.md', 'policies/protect.yaml', 'migrations/sqlite/0001-foundation.sql', 'migrations/postgres/0001-foundation.sql', 'data/pg-catalog/18.json', 'demo/shop.sql']) {
      assert.ok(files.some((file) => file === needed || file.startsWith(`${needed}.`)), `${needed} is not packed`);
    }
    assert.deepEqual(files.filter((file) => /\.test\.|-fixture\.|^src\/|^test\/|\.backstop/.test(file)), []);
  });

  test('runs `backstop --help`, `--version` and `version` from any folder', async () => {
    const help = await runTool(backstop, ['--help'], { cwd: tmpdir() });
    assert.equal(help.code, 0, help.stderr);
    assert.match(help.stdout, /^Usage: backstop/);
    assert.match(help.stdout, /approvals/);
    const { version } = z.object({ version: z.string() }).parse(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')));
    assert.equal((await runTool(backstop, ['--version'], { cwd: tmpdir() })).stdout, `${version}\n`);
    assert.deepEqual(JSON.parse((await runTool(backstop, ['version', '--json'], { cwd: tmpdir() })).stdout), { version, node: process.version });
  });

  test('classifies', async () => {
    const { stdout, code, stderr } = await runTool(backstop, ['classify', '--json', 'DELETE FROM payments'], { cwd: tmpdir() });
    assert.equal(code, 0, stderr);
    assert.equal(z.object({ level: z.string() }).parse(JSON.parse(stdout)).level, 'CRITICAL');
  });

  test('finds its policies and says one sentence about one that is not there', async () => {
    const { code, stderr } = await runTool(backstop, ['up', '--policy', 'protekt', '--gateway-port', '0', '--http-port', '0', '--data', join(folder, 'data')], { cwd: tmpdir() });
    assert.equal(code, 2);
    assert.match(stderr, /there is no policy protekt; shipped are .*protect/);
  });

  test('on an older Node says in one sentence that it needs Node 24', async () => {
    const old = join(folder, 'old-node');
    mkdirSync(old);
    writeFileSync(join(old, 'node'), '#!/bin/sh\necho v20.20.2\n');
    chmodSync(join(old, 'node'), 0o755);
    for (const tool of ['sh', 'readlink', 'dirname']) {
      const found = ['/bin', '/usr/bin'].map((place) => join(place, tool)).find((candidate) => existsSync(candidate));
      symlinkSync(found ?? '', join(old, tool));
    }
    const { code, stderr } = await runTool(backstop, ['--version'], { cwd: tmpdir(), env: { PATH: old } });
    assert.equal(code, 1);
    assert.match(stderr, /^backstop: this needs Node 24 or newer .* v20\.20\.2.*\n$/);
  });
});
