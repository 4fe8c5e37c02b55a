/**
 * What `backstop up` prints once it serves: one block with the agent's connection string, a psql line to paste, three
 * things to try and what they will do under the policy in force, where a person answers, and what brings back the table that
 * the last of them destroys.
 */
import { columns } from './columns.ts';
import { agentTokenFile, operatorTokenFile } from './private-file.ts';

export interface UpFacts {
  readonly isDemo: boolean;
  readonly database: string;
  readonly policyName: string;
  readonly dataDir: string;
  readonly self: string;
  /** Set when other commands would look elsewhere for the data: ` --data DIR`. */
  readonly dataFlag: string;
  /** undefined: there are agents, and their tokens are theirs alone. */
  readonly agent: { readonly name: string; readonly url: string; /** In a file of the data folder. */ readonly isKept: boolean } | undefined;
  readonly httpUrl: string;
  readonly hasOperatorToken: boolean;
}

/** A read, a write with a bound, and a loss without one. */
const demoTries = ['SELECT name, email FROM customers LIMIT 3;', 'UPDATE orders SET status = \'cancelled\' WHERE id = 42;', 'DROP TABLE events;'] as const;
const otherTries = ['SELECT current_user, version();', 'CREATE TABLE backstop_try (id int);', 'DROP TABLE backstop_try;'] as const;

/** Under others, what is destroyed is refused, or was not kept. */
const keepsWhatFalls: ReadonlySet<string> = new Set(['protect']);

const held = 'is held until you approve it';
const refused = 'is refused, and says why';
const runs = 'runs';
const outcomes: Readonly<Record<string, readonly [string, string, string]>> = {
  observe: [runs, `${runs}; the record says what would have been said`, `${runs}; the record says what would have been said`],
  develop: [runs, runs, held],
  protect: [`${runs}: it only reads`, `${runs}: it can be undone`, held],
  strict: [`${runs}: it only reads`, held, refused],
  'read-only': [`${runs}: it only reads`, refused, refused],
};
/** A new table is no change of rows that could be undone. */
const otherOutcomes: typeof outcomes = { ...outcomes, protect: [`${runs}: it only reads`, held, held] };

export function upText(facts: UpFacts): string {
  const { isDemo, database, policyName, httpUrl, hasOperatorToken, dataDir, self, dataFlag } = facts;
  const remarks = (isDemo ? outcomes : otherOutcomes)[policyName] ?? ['', '', ''];
  const tries = isDemo ? demoTries : otherTries;
  return [
    `\nBackstop guards ${isDemo ? `a PostgreSQL 18 with the demo database ${database}` : `database ${database}`} under the policy ${policyName}.\n`,
    connectText(facts),
    `\nThree things to try there:\n${columns(tries.map((sql, index) => [`  ${sql}`, remarks[index] ?? '']), 80)}`,
    `\nYou answer from another terminal${hasOperatorToken ? '' : ' (with BACKSTOP_OPERATOR_TOKEN set)'}:\n  ${self} approvals list${dataFlag}\n  ${self} approvals approve ID${dataFlag}\n  ${self} log --follow${dataFlag}\n`,
    keepsWhatFalls.has(policyName) ? `\nGet ${isDemo ? 'the dropped table' : 'what was dropped'} back, with its rows, its indexes and whatever else fell with it:\n  ${self} undo last --yes${dataFlag}\n` : '',
    `\nHealth and metrics: ${httpUrl}/readyz  ${httpUrl}/metrics\n`,
    keptText(facts),
    `Data: ${dataDir}. Ctrl-C stops everything.\n\n`,
  ].join('');
}

function connectText({ agent, self, dataFlag }: UpFacts): string {
  if (agent === undefined) {
    return `\nIts agents connect with the tokens they were given. For one more:\n  ${self} agents add NAME${dataFlag}\n`;
  }
  const once = agent.isKept ? '' : ' (shown now and never again)';
  return `\nThe agent's connection string${once}:\n  ${agent.url}\n\nWith psql:\n  psql "${agent.url}"\n`;
}

function keptText({ agent, hasOperatorToken, dataDir }: UpFacts): string {
  const files = [...(agent?.isKept === true ? [`the demo agent's token in ${agentTokenFile(agent.name)}`] : []), ...(hasOperatorToken ? [`yours in ${operatorTokenFile}`] : [])];
  return files.length === 0 ? '' : `Kept in ${dataDir}, readable by you only: ${files.join(' and ')}.\n`;
}

export function upJson({ agent, ...facts }: UpFacts): string {
  const { database, policyName, dataDir, httpUrl } = facts;
  return `${JSON.stringify({ agent: agent?.name ?? null, url: agent?.url ?? null, database, policy: policyName, http: httpUrl, dataDir })}\n`;
}
