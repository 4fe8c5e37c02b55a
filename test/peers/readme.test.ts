/**
 * README.md is true: a newcomer follows it from the first line to the last, in a fresh clone with an empty home, and sees
 * what it shows. Every command is run as it is written; the few that cannot be are named here with the reason and
 * checked in another way. Every `backstop …` that README and docs/cli.md name exists, with each of its flags.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { backstopUses, patternOf, steady, stepsOf, type CommandUse, type Step } from './document-steps.ts';
import { newcomer, type Foreground, type Newcomer } from './newcomer.ts';
import { missing } from './peer.ts';

const skip = missing('psql', 'git', 'npm');
const installMsMax = 6 * 60_000;
const commandMsMax = 60_000;

/** Not run as it is written, and what is checked in its place. */
const checkedOtherwise: Readonly<Record<string, (at: Newcomer) => void>> = {
  // It would run the suites inside one of them.
  'npm test': ({ checkout }) => {
    const { scripts } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as { readonly scripts: Readonly<Record<string, string>> };
    const files = scripts['test']?.match(/scripts\/\S+/g) ?? [];
    assert.ok(files.length > 0, 'package.json has a script `test`');
    for (const file of files) assert.ok(existsSync(join(checkout, file)), file);
  },
};
/** They stay in the foreground until Ctrl-C, after having printed this. */
const staying: readonly (readonly [command: RegExp, printed: RegExp])[] = [[/^npm run up\b/, /Ctrl-C/], [/ --follow\b/, /\n/]];
const upstreamInReadme = 'postgres://app:secret@db.internal:5432/app';

let at: Newcomer;
let upstream: PostgresServer;
let serving: Foreground | undefined;
let psql: Foreground | undefined;
let firstPsqlLine: string | undefined;
let seen = 0;

before(async () => {
  if (skip !== false) return;
  [at, upstream] = await Promise.all([newcomer(), startPostgresServer()]);
  await upstream.run('CREATE DATABASE app');
});
after(async () => {
  await at?.leave();
  await upstream?.stop();
});

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');

describe('README, followed literally', { skip }, () => {
  let isBroken = false;
  for (const step of stepsOf(readme)) {
    it(`line ${step.line}: ${step.text === '' ? `then psql prints ${step.shown[0] ?? ''}` : step.text}`, async (t) => {
      if (isBroken) return t.skip('an earlier step failed');
      isBroken = true;
      await follow(step);
      isBroken = false;
    });
  }

  it('lets the agent that was added in front of the real server in, and records what protect would have said', async () => {
    const following = at.start('bin/backstop log --follow --limit 0');
    const url = (await at.run('bin/backstop agents rotate reporting --json', commandMsMax)).printed.match(/postgres:\/\/[^"]+/)?.[0];
    const ran = await at.run(`psql -X -q '${url}' -c 'CREATE TABLE notes (id int)' -c 'DROP TABLE notes'`, commandMsMax);
    assert.deepEqual(ran, { code: 0, printed: '' });
    const { printed } = await at.run('bin/backstop log --json', commandMsMax);
    assert.match(printed, /"agent":"reporting".*"wouldBe":"hold".*DROP TABLE notes/);
    await following.reads('shows the record live', (live) => /allow \(hold\).*DROP TABLE notes/.test(live), commandMsMax);
    assert.equal(await following.interrupt(), 0, following.printed());
  });

  it('classifies thousands of lines in seconds and in their order', async () => {
    const texts = Array.from({ length: 20_000 }, (_, index) => (index % 3 === 0 ? `DELETE FROM t${index}` : `SELECT ${index} FROM t WHERE id = ${index}`));
    writeFileSync(join(at.home, 'many.jsonl'), texts.map((sql) => `${JSON.stringify({ sql })}\n`).join(''));
    const { code, printed } = await at.run(`bin/backstop classify --jsonl '${join(at.home, 'many.jsonl')}'`, commandMsMax);
    assert.equal(code, 0, printed.slice(-1_000));
    const found = printed.trimEnd().split('\n').map((line): unknown => JSON.parse(line).level);
    assert.deepEqual(found, texts.map((sql) => (sql.startsWith('SELECT') ? 'SAFE' : 'CRITICAL')));
  });

  it('ends with Ctrl-C and exit code 0', async () => {
    assert.equal(await serving?.interrupt(), 0, serving?.printed());
  });

  it('finds everything again with the next `npm run up`', async () => {
    await stay('npm run up', /Ctrl-C/);
    assert.equal(psqlLine(), firstPsqlLine, 'the connection string is the same');
    const { printed } = await at.run(`${psqlLine()} -X -A -t -c 'SELECT tier FROM customers WHERE id = 42'`, commandMsMax);
    assert.equal(printed, 'gold\n');
    assert.match((await at.run('bin/backstop log', commandMsMax)).printed, /allow +committed +1 +can +UPDATE customers/);
    assert.equal(await serving?.interrupt(), 0, serving?.printed());
  });

  it('does what the block that `npm run up` prints says, to the table that comes back', async () => {
    await stay('npm run up', /Ctrl-C/);
    const block = serving?.printed() ?? '';
    const tries = [...block.matchAll(/^ {2}((?:SELECT|UPDATE|DROP) .*?;) +(.*)$/gm)].map(([, sql = '', remark = '']) => ({ sql, remark }));
    const commands = [...block.matchAll(/^ {2}(\S*backstop .*)$/gm)].map(([, command = '']) => command);
    assert.deepEqual(tries.map(({ remark }) => remark), ['runs: it only reads', 'runs: it can be undone', 'is held until you approve it']);
    assert.deepEqual(commands.map((command) => command.replace(/.*backstop /, '')), ['approvals list', 'approvals approve ID', 'log --follow', 'undo last --yes']);
    const [read, write, drop] = tries.map(({ sql }) => sql);
    const asked = async (sql: string): Promise<string> => (await at.run(`${psqlLine()} -X -A -t -c ${JSON.stringify(sql)}`, commandMsMax)).printed;
    assert.match(await asked(read ?? ''), /@/);
    assert.equal(await asked(write ?? ''), 'UPDATE 1\n');
    const rows = await asked('TABLE events ORDER BY id');
    const dropping = at.start(`${psqlLine()} -X -c ${JSON.stringify(drop)}`);
    await dropping.reads('says that it is held', (printed) => /approvals approve apr_/.test(printed), commandMsMax);
    const id = /\bapr_[a-z0-9]+/.exec(dropping.printed())?.[0] ?? '';
    assert.ok((await at.run(commands[0] ?? '', commandMsMax)).printed.includes(id));
    assert.equal((await at.run((commands[1] ?? '').replace('ID', id), commandMsMax)).code, 0);
    await dropping.reads('drops it', (printed) => /^DROP TABLE$/m.test(printed), commandMsMax);
    assert.match(await asked('TABLE events'), /does not exist/);
    const undone = await at.run(commands[3] ?? '', commandMsMax);
    assert.equal(undone.code, 0, undone.printed);
    assert.equal(await asked('TABLE events ORDER BY id'), rows);
    assert.equal(await serving?.interrupt(), 0, serving?.printed());
  });

  it('has a bin/backstop that works from any folder, also through a link', async () => {
    const link = join(at.home, 'backstop');
    const { code, printed } = await at.run(`ln -s "$PWD/bin/backstop" '${link}' && cd / && '${link}' log && '${link}' version`, commandMsMax);
    assert.equal(code, 0, printed);
    assert.match(printed, /UPDATE customers[^]*^backstop \d/m);
  });
});

async function follow(step: Step): Promise<void> {
  const otherwise = checkedOtherwise[step.text];
  if (otherwise !== undefined) return otherwise(at);
  if (step.kind !== 'shell') return followInPsql(step);
  const line = step.text.replace(upstreamInReadme, upstream?.url('app') ?? '').replaceAll(/\bapr_\S+/g, heldId);
  const [, printed] = staying.find(([command]) => command.test(line)) ?? [];
  if (printed !== undefined) return stay(line, printed);
  const ended = await at.run(line, commandMsMax);
  assert.equal(ended.code, 0, ended.printed);
  if (step.shown.length > 0) assert.match(steady(ended.printed), patternOf(step.shown), ended.printed);
}

async function stay(line: string, printed: RegExp): Promise<void> {
  if (!line.startsWith('npm run up')) {
    const following = at.start(line);
    await following.reads(`prints ${printed}`, (text) => printed.test(text), commandMsMax);
    assert.equal(await following.interrupt(), 0, following.printed());
    return;
  }
  if (serving !== undefined) assert.equal(await serving.interrupt(), 0, serving.printed());
  serving = at.start(line);
  psql = undefined;
  await serving.reads(`prints ${printed}`, (text) => printed.test(text), installMsMax);
}

/** Types into the psql that the printed line opens, and waits for all that README shows. */
async function followInPsql({ line, text, shown }: Step): Promise<void> {
  psql ??= openPsql();
  const mark = text !== '' && isOpenEnded(shown) ? `line ${line} has ended` : undefined;
  if (text !== '') psql.type(`${text}\n${mark === undefined ? '' : `\\echo ${mark}\n`}`);
  const pattern = patternOf(mark === undefined ? shown : [...shown, mark]);
  await psql.reads(`prints what is shown:\n${shown.join('\n')}\n`, (printed) => pattern.test(steady(printed.slice(seen))), commandMsMax);
  seen = psql.printed().length;
}

/** Then what ends it must be printed too, or nobody knows that it has ended. */
function isOpenEnded(shown: readonly string[]): boolean { return shown.join('\n').trimEnd().endsWith('…'); }

function psqlLine(): string {
  const line = /^\s*(psql .*)$/m.exec(serving?.printed() ?? '')?.[1];
  assert.ok(line !== undefined, 'no psql line was printed');
  return line;
}

function openPsql(): Foreground {
  const line = psqlLine();
  firstPsqlLine ??= line;
  seen = 0;
  return at.start(`stdbuf -oL ${line}`);
}

/** README shows one approval; here it is whichever psql was told last. */
function heldId(): string {
  return psql?.printed().match(/\bapr_[a-z0-9]+/gi)?.at(-1) ?? 'apr_none';
}

describe('every command that the documents name exists', { skip }, () => {
  for (const document of ['README.md', 'docs/cli.md']) {
    it(`in ${document}`, async () => {
      const uses = backstopUses(readFileSync(join(at.checkout, document), 'utf8'));
      assert.ok(uses.length > 3, 'commands were found');
      const wrong: string[] = [];
      for (const use of uses) wrong.push(...(await problemsOf(use)).map((problem) => `${document}:${use.line}: ${problem}`));
      assert.deepEqual(wrong, []);
    });
  }

  it('and what does not exist is found out', async () => {
    const wrong = [['approvels', 'list'], ['agents', 'ad', 'NAME'], ['log', '--folow'], ['classify', '--db-url', 'x'], ['--json']];
    for (const words of wrong) assert.equal((await problemsOf({ line: 1, words })).length, 1, words.join(' '));
  });

  it('and every link of README leads to something', () => {
    const targets = [...readme.matchAll(/\]\(([^)#:]+)\)/g)].map(([, target = '']) => target);
    assert.deepEqual(targets.filter((target) => !existsSync(join(at.checkout, target))), []);
  });
});

const helps = new Map<string, string>();

async function helpOf(path: readonly string[]): Promise<string> {
  const key = path.join(' ');
  const known = helps.get(key);
  if (known !== undefined) return known;
  const { code, printed } = await at.run(`bin/backstop ${key} --help`, commandMsMax);
  assert.equal(code, 0, printed);
  helps.set(key, printed);
  return printed;
}

/** Follows the words down the commands that `--help` lists, and then asks for each flag. */
async function problemsOf({ words }: CommandUse): Promise<readonly string[]> {
  const path: string[] = [];
  let help = await helpOf(path);
  for (const word of words) {
    const names = commandsIn(help);
    if (names.length === 0 || word.startsWith('-')) break;
    const asked = word.split('|');
    if (asked.some((name) => !names.includes(name))) return [`there is no command \`backstop ${[...path, word].join(' ')}\``];
    path.push(asked[0] ?? word);
    help = await helpOf(path);
  }
  const flags = words.map((word) => /^--?[a-z][a-z-]*/i.exec(word)?.[0]).filter((flag) => flag !== undefined);
  return flags.filter((flag) => !new RegExp(`(^|[\\s,])${flag}(?![\\w-])`, 'm').test(help)).map((flag) => `\`backstop ${path.join(' ')}\` has no ${flag}`);
}

function commandsIn(help: string): readonly string[] {
  const [, list = ''] = /^Commands:\n((?: .*\n?)*)/m.exec(help) ?? [];
  return [...list.matchAll(/^ {2}([a-z][a-z-]*)/gm)].map(([, name = '']) => name).filter((name) => name !== 'help');
}
