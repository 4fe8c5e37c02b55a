/**
 * Bootstrap: what stands before every npm script. It runs on Node 18 and newer with nothing installed: it installs the
 * packages when they are missing or are not those of package-lock.json, and then runs a file of the checkout with the
 * Node 24 that is one of them. Up to date it needs no network and adds a few milliseconds. The signals it gets reach
 * the command once each, and the command's exit code is its own.
 *
 *   node scripts/bootstrap.mjs FILE [ARGUMENT…]
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const packages = join(root, 'node_modules');
const node = join(packages, 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
/** What Node compiled of the program, so that the next start need not; tests go without, it would blur their coverage. */
const program = 'src/main.ts';
const compiled = join(packages, '.cache', 'backstop');
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
/** npm passes on the Ctrl-C that the terminal has already sent: within this time it is the same one. */
const sameSignalMs = 500;
const heartbeatMs = 5_000;

class Refusal extends Error {}

try {
  const [file, ...args] = process.argv.slice(2);
  if (file === undefined) throw new Refusal('scripts/bootstrap.mjs needs the file that it should run');
  await install();
  if (file === program) process.env.NODE_COMPILE_CACHE ??= compiled;
  process.exitCode = await runCommand(node, ['--disable-warning=ExperimentalWarning', resolve(root, file), ...args]);
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  console.error(`backstop: ${error.message}`);
  process.exitCode = 1;
}

async function install() {
  const stale = whatIsStale();
  if (stale !== undefined) await installPackages(stale);
  if (!existsSync(node)) await fetchNode();
}

async function installPackages(stale) {
  const started = Date.now();
  const seconds = () => `${((Date.now() - started) / 1_000).toFixed(1)} s`;
  console.error(`Installing packages, because ${stale}. This takes up to a minute, once …`);
  const heartbeat = setInterval(() => console.error(`  … still installing, ${seconds()}`), heartbeatMs);
  const code = await runInstaller('npm', ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error'], root);
  clearInterval(heartbeat);
  if (code !== 0) {
    throw new Refusal(`\`npm ci\` failed with code ${code} after ${seconds()}; its message is above. Check that the package registry can be reached and that the disk has 500 MB free, then run the same command again.`);
  }
  console.error(`Installed in ${seconds()}.`);
}

/** npm with install scripts switched off leaves the package `node` without its binary. */
async function fetchNode() {
  console.error('Fetching Node 24 …');
  const code = await runInstaller(process.execPath, ['installArchSpecificPackage.js'], join(packages, 'node'));
  if (code !== 0 || !existsSync(node)) {
    throw new Refusal(`Node 24 could not be installed into ${join(packages, 'node')} (code ${code}). Delete node_modules and run the same command again.`);
  }
}

/** A reason to install, or nothing. npm writes node_modules/.package-lock.json last, when everything is in place. */
function whatIsStale() {
  const wanted = readLock(join(root, 'package-lock.json'));
  const installed = readLock(join(packages, '.package-lock.json'));
  if (wanted === undefined) throw new Refusal('package-lock.json is missing or unreadable; a checkout has one, so restore it with `git checkout package-lock.json`');
  if (installed === undefined) return 'there are none yet';
  const differs = Object.entries(wanted).find(([path, { version, optional }]) => {
    const found = installed[path];
    return found === undefined ? optional !== true : found.version !== version;
  });
  if (differs === undefined) return undefined;
  return `${differs[0].replace(/^.*node_modules\//, '')} is not the version that package-lock.json names`;
}

/** Path → entry, without the project itself. */
function readLock(path) {
  try {
    const { '': _project, ...entries } = JSON.parse(readFileSync(path, 'utf8')).packages;
    return entries;
  } catch {
    return undefined;
  }
}

/** Without the checkout's own binaries on the path: npm must not run on the Node that it is about to replace. */
function runInstaller(command, args, cwd) {
  const PATH = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== join(packages, '.bin')).join(delimiter);
  const shell = process.platform === 'win32';
  return finish(spawn(command, args, { cwd, env: { ...process.env, PATH }, stdio: ['ignore', 2, 2], shell }), command);
}

/** The command leads a process group of its own, so that a terminal's Ctrl-C reaches it through us alone. */
async function runCommand(command, args) {
  const child = spawn(command, args, { stdio: 'inherit', detached: process.platform !== 'win32' });
  const lastSent = new Map();
  for (const signal of signals) {
    process.on(signal, () => {
      const isSame = Date.now() - (lastSent.get(signal) ?? -Infinity) < sameSignalMs;
      if (isSame) return;
      lastSent.set(signal, Date.now());
      child.kill(signal);
    });
  }
  return finish(child, command);
}

function finish(child, command) {
  return new Promise((resolveCode, reject) => {
    child.once('error', (error) => reject(new Refusal(`${command} could not be started (${error.code ?? error.message})`)));
    child.once('exit', (code, signal) => resolveCode(code ?? 128 + (constants.signals[signal] ?? 0)));
  });
}
