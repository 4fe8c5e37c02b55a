/**
 * `backstop log`: the record of statements, as a table or as one JSON object a line; with `--follow` also what comes. It
 * reads the store like any other process, so it works whether Backstop runs or not.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Memory } from '../../app/memory.ts';
import { columns, printable } from './columns.ts';
import type { CliDeps, CommandMaker } from './command.ts';
import { LogLines, type LogLine } from './log-lines.ts';
import { type Options, wholeNumber, withStore, withJson, withMemory } from './options.ts';

const pageEntries = 500;
const limitDefault = 50;
const linesMax = 1_000_000;
const followEveryMs = 200;
/** For people; JSON has all that is kept. */
const statementCharactersMax = 120;

interface Wanted { readonly isWanted: (line: LogLine) => boolean; readonly limit: number }

export const addLogCommand: CommandMaker = (program, deps) => {
  const log = program.command('log').description('Show the record of statements').addHelpText('after', `
Examples:
  backstop log --limit 20
  backstop log --follow
  backstop log --json --agent reporting`);
  withStore(withJson(log, 'print one JSON object a line'))
    .option('--follow', 'go on with what comes, until Ctrl-C')
    .option('--agent <name>', 'only of this agent')
    .option('--limit <count>', 'at most so many of the past (default 50; with --json all)')
    .action((options: Options) => withMemory(deps, options, async (memory) => {
      const { agent, limit } = options;
      const [isJson, isFollowing] = [options['json'] === true, options['follow'] === true];
      const isWanted = (line: LogLine): boolean => agent === undefined || line.agent === agent;
      if (isJson && !isFollowing && limit === undefined) {
        await printAll(deps, memory, isWanted);
        return;
      }
      const wanted: Wanted = { isWanted, limit: wholeNumber(String(limit ?? limitDefault), '--limit', 0, linesMax) };
      const { lines, past, seq } = await readPast(memory, wanted, !isFollowing);
      await deps.print(isJson ? jsonText(past) : pastText(past, lines, isFollowing));
      if (isFollowing) await follow(deps, memory, { lines, seq, wanted, show: isJson ? jsonText : (shown) => liveText(shown, lines) });
    }));
};

/** From the first entry on, page by page, so that a record of any length can be written out. */
async function printAll(deps: CliDeps, { ledger }: Memory, isWanted: Wanted['isWanted']): Promise<void> {
  const lines = new LogLines();
  for (let seq = 0; ;) {
    const page = await ledger.entriesAfter(seq, pageEntries);
    await deps.print(jsonText(page.flatMap((entry) => lines.add(entry)).filter(isWanted)));
    if (page.length < pageEntries) break;
    seq = page.at(-1)?.seq ?? seq;
  }
  await deps.print(jsonText(lines.open().filter(isWanted)));
}

/** Backwards in pages until there are enough lines, then forwards once. */
async function readPast({ ledger }: Memory, { isWanted, limit }: Wanted, withOpen: boolean): Promise<{ readonly lines: LogLines; readonly past: readonly LogLine[]; readonly seq: number }> {
  const head = await ledger.head();
  for (let from = head.seq, pages = 1; ; pages *= 2) {
    from = Math.max(0, head.seq - pages * pageEntries);
    const lines = new LogLines();
    const done: LogLine[] = [];
    for (let seq = from; seq < head.seq;) {
      const page = await ledger.entriesAfter(seq, Math.min(pageEntries, head.seq - seq));
      for (const entry of page) done.push(...lines.add(entry).filter(isWanted));
      seq = page.at(-1)?.seq ?? head.seq;
    }
    const open = withOpen ? lines.open().filter(isWanted) : [];
    const all = [...done, ...open].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
    if (from === 0 || all.length >= limit) return { lines, past: limit === 0 ? [] : all.slice(-limit), seq: head.seq };
  }
}

interface Following { readonly lines: LogLines; readonly seq: number; readonly wanted: Wanted; readonly show: (lines: readonly LogLine[]) => string }

async function follow(deps: CliDeps, { ledger }: Memory, { lines, seq: start, wanted, show }: Following): Promise<void> {
  let isOver = false;
  const over = deps.interrupted().then(() => { isOver = true; });
  for (let seq = start; !isOver;) {
    const page = await ledger.entriesAfter(seq, pageEntries);
    const done = page.flatMap((entry) => lines.add(entry)).filter(wanted.isWanted);
    if (done.length > 0) await deps.print(show(done));
    seq = page.at(-1)?.seq ?? seq;
    if (page.length < pageEntries) await Promise.race([over, pause(followEveryMs)]);
  }
}

function jsonText(lines: readonly LogLine[]): string {
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}

const headings = ['TIME', 'ACTION', 'AGENT', 'LEVEL', 'VERDICT', 'OUTCOME', 'ROWS', 'UNDO', 'STATEMENT'];

function pastText(lines: readonly LogLine[], known: LogLines, isFollowing: boolean): string {
  if (lines.length === 0 && !isFollowing) return 'No statement is on record.\n';
  return isFollowing ? liveText(lines, known) : columns([headings, ...lines.map((line) => cells(line, known))]);
}

/** Lines that come one by one cannot wait to learn the widths of later ones. */
function liveText(lines: readonly LogLine[], known: LogLines): string {
  return lines.map((line) => {
    const [time, action, agent, level, verdict, outcome, rows, undo, statement] = cells(line, known).map(printable);
    return `${time}  ${action}  ${agent?.padEnd(12)}  ${level?.padEnd(8)}  ${verdict?.padEnd(8)}  ${outcome?.padEnd(11)}  ${rows?.padStart(6)}  ${undo?.padEnd(6)}  ${statement}\n`;
  }).join('');
}

function shortened(statement: string): string {
  return statement.length <= statementCharactersMax ? statement : `${statement.slice(0, statementCharactersMax)}…`;
}

function cells(line: LogLine, known: LogLines): readonly string[] {
  const isApproved = line.verdict === 'allow' && line.approvalId !== null;
  // Under observe everything is let through; what would have been said stands beside it.
  const verdict = line.isOverride ? 'OVERRIDE' : isApproved ? 'approved' : line.wouldBe === line.verdict ? line.verdict : `${line.verdict} (${line.wouldBe})`;
  return [
    line.at.slice(0, 23).replace('T', ' '), line.actionId, line.agent, line.level, verdict,
    line.outcome === 'none' ? '-' : line.outcome, line.rows === null ? '' : String(line.rows), known.undoOf(line), shortened(line.statement),
  ];
}
