/**
 * `backstop classify`: says what a statement would do without running it, with the same core that the gateway uses.
 * Offline it knows PostgreSQL's own catalog; with `--db` it reads the catalog of that database, and nothing else there.
 * `--jsonl` answers a stream line by line, in order, with memory that does not grow.
 */
import { open } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import type { JudgingPlace } from '../../app/judging-place.ts';
import { Failure } from '../../core/failure.ts';
import { coverageOf } from '../../core/recovery/coverage.ts';
import { assess } from '../../core/sql/assess.ts';
import { beginSession } from '../../core/sql/next-session.ts';
import { classificationOf, classificationText, unreadable, type Classification } from './classification.ts';
import type { CliDeps, CommandMaker } from './command.ts';
import { type Options, wholeNumber, withJson } from './options.ts';
import { systemCode } from '../../lib/system-error.ts';

const request = z.object({ sql: z.string() });
const majorDefault = '18';
/** Written together; each write to a pipe costs more than many judgements. */
const batchCharacters = 64_000;

export const addClassifyCommand: CommandMaker = (program, deps) => {
  withJson(program.command('classify [sql]').description('Say what a statement would do, without running it'), 'print one JSON object')
    .option('--db <url>', 'judge against the catalog of this database')
    .option('--major <number>', 'offline: the PostgreSQL version to judge for, 15 to 18', majorDefault)
    .option('--jsonl <file>', 'one JSON object with the field `sql` a line (- is standard input); one JSON object a line comes out')
    .addHelpText('after', `
Examples:
  backstop classify "DELETE FROM payments WHERE id = 7"
  backstop classify --json "SELECT now()"
  backstop classify --db postgres://me@localhost/app "SELECT * FROM a_view"
  backstop classify --jsonl statements.jsonl > levels.jsonl`)
    .action(async (sql: string | undefined, options: Options) => {
      const { db, jsonl, json, major } = options;
      if ((sql === undefined) === (jsonl === undefined)) throw new Failure('usage', 'classify takes one statement, or --jsonl with a file');
      const place = typeof db === 'string' ? await deps.livePlace(db) : await deps.offlinePlace(wholeNumber(String(major), '--major', 15, 18));
      const classify = classifierFor(place);
      if (typeof jsonl === 'string') {
        await classifyLines(deps, jsonl, classify);
        return;
      }
      const found = classify(sql ?? '');
      await deps.print(json === true ? `${JSON.stringify(found)}\n` : classificationText(found));
    });
};

function classifierFor({ catalog, parser, searchPath, role }: JudgingPlace): (sql: string) => Classification {
  const session = beginSession(searchPath, role);
  return (sql) => {
    const assessment = assess(sql, session, catalog, parser);
    return classificationOf(assessment, coverageOf({ statements: assessment.statements.map(({ statement }) => statement), risk: assessment.risk, session, catalog, parser, isInBlock: false }));
  };
}

async function classifyLines(deps: CliDeps, file: string, classify: (sql: string) => Classification): Promise<void> {
  let batch = '';
  for await (const line of createInterface({ input: await openInput(deps, file), crlfDelay: Infinity })) {
    batch += `${JSON.stringify(classifyLine(line, classify))}\n`;
    if (batch.length < batchCharacters) continue;
    await deps.print(batch);
    batch = '';
  }
  await deps.print(batch);
}

function classifyLine(line: string, classify: (sql: string) => Classification): Classification {
  let given: unknown;
  try {
    given = JSON.parse(line);
  } catch {
    return unreadable('the line is not JSON');
  }
  const read = request.safeParse(given);
  return read.success ? classify(read.data.sql) : unreadable('the line has no text in a field `sql`');
}

async function openInput(deps: CliDeps, file: string): Promise<NodeJS.ReadableStream> {
  if (file === '-') return deps.input;
  try {
    return (await open(file)).createReadStream();
  } catch (cause) {
    throw new Failure('usage', `${file} cannot be read (${systemCode(cause)})`, { cause, hint: 'Name a file of JSON lines, or - for standard input.' });
  }
}
