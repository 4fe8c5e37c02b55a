/**
 * The clauses of an UPDATE, DELETE or MERGE as pieces of its own text: WITH, target, FROM or USING, WHERE, ON, WHEN. Where
 * a clause begins is guessed from the words outside of all brackets; then a SELECT made of the pieces is parsed, and every
 * clause in its tree must be the one in the statement's tree. A guess that does not prove right is not used.
 */
import type { Parser } from '../../lib/pgsql/parser.ts';
import { tokensOf } from '../../lib/pgsql/tokens.ts';
import { nodeIn, nodesIn, stringIn, treeIn, type Tree } from './tree.ts';

export interface DmlParts {
  /** `WITH …` or nothing. */
  readonly with: string;
  /** The relation with ONLY and alias, as it may stand in FROM. */
  readonly target: string;
  /** What else is joined: the list of FROM or USING. */
  readonly from: string | undefined;
  /** WHERE, or the ON of a MERGE. */
  readonly where: string | undefined;
  /** Of a MERGE, in order. */
  readonly whens: readonly WhenPart[];
}

export interface WhenPart {
  readonly match: 'matched' | 'not-matched-by-source' | 'not-matched-by-target';
  readonly command: 'update' | 'delete' | 'insert' | 'nothing';
  readonly condition: string | undefined;
}

/** A word outside of all brackets. */
interface Word { readonly word: string; readonly start: number; readonly end: number }

const guessesMax = 40;

/** undefined when the pieces cannot be told apart for sure. */
export function dmlParts(node: string, tree: Tree, text: string, parser: Parser): DmlParts | undefined {
  const words = outerWords(text);
  let guesses = 0;
  for (const guess of guessesOf(node, tree, text, words)) {
    guesses += 1;
    if (guesses > guessesMax) return undefined;
    if (isRight(node, tree, guess, parser)) return guess;
  }
  return undefined;
}

function guessesOf(node: string, tree: Tree, text: string, words: readonly Word[]): Iterable<DmlParts> {
  switch (node) {
    case 'DeleteStmt': return guesses(text, words, 'delete', { into: 'from', from: clause(tree, 'usingClause', 'using') }, tree);
    case 'UpdateStmt': return guesses(text, words, 'update', { from: clause(tree, 'fromClause', 'from') }, tree);
    case 'MergeStmt': return mergeGuesses(text, words, tree);
    default: return [];
  }
}

function clause(tree: Tree, field: string, word: string): string | undefined {
  return nodesIn(tree, field).length > 0 ? word : undefined;
}

interface Shape { readonly into?: string; readonly from: string | undefined }

function* guesses(text: string, words: readonly Word[], verb: string, { into, from }: Shape, tree: Tree): Iterable<DmlParts> {
  const where = nodeIn(tree, 'whereClause') === undefined ? undefined : 'where';
  for (const verbAt of indexesOf(words, verb, -1)) {
    const intoAt = into === undefined ? verbAt : words[verbAt + 1]?.word === into ? verbAt + 1 : undefined;
    if (intoAt === undefined) continue;
    // UPDATE … SET stands between the target and FROM; in a DELETE nothing does.
    for (const setAt of verb === 'update' ? indexesOf(words, 'set', intoAt) : [undefined]) {
      for (const fromAt of from === undefined ? [undefined] : indexesOf(words, from, setAt ?? intoAt)) {
        for (const whereAt of where === undefined ? [undefined] : indexesOf(words, where, fromAt ?? setAt ?? intoAt)) {
          for (const endAt of endsOf(words, tree, whereAt ?? fromAt ?? setAt ?? intoAt)) {
            const slice = (begin: number | undefined, end: number | undefined): string | undefined => (begin === undefined ? undefined : sliceOf(text, words, begin, end));
            const targetEnd = setAt ?? fromAt ?? whereAt ?? endAt;
            yield {
              with: text.slice(0, words[verbAt]?.start).trim(), target: sliceOf(text, words, intoAt, targetEnd),
              from: slice(fromAt, whereAt ?? endAt), where: slice(whereAt, endAt), whens: [],
            };
          }
        }
      }
    }
  }
}

function endsOf(words: readonly Word[], tree: Tree, after: number): readonly (number | undefined)[] {
  const hasReturning = nodesIn(tree, 'returningList').length > 0 || treeIn(tree, 'returningClause') !== undefined;
  return hasReturning ? indexesOf(words, 'returning', after) : [undefined];
}

function* mergeGuesses(text: string, words: readonly Word[], tree: Tree): Iterable<DmlParts> {
  const clauses = nodesIn(tree, 'mergeWhenClauses').map((when) => when.tree);
  for (const verbAt of indexesOf(words, 'merge', -1)) {
    if (words[verbAt + 1]?.word !== 'into') continue;
    for (const usingAt of indexesOf(words, 'using', verbAt)) {
      const whenAt = indexesOf(words, 'when', usingAt);
      const [firstWhen] = whenAt;
      if (firstWhen === undefined || whenAt.length !== clauses.length) continue;
      // The source may itself be a join, with an ON of its own before the MERGE's.
      for (const onAt of indexesOf(words, 'on', usingAt).filter((at) => at < firstWhen).toReversed()) {
        const whens = clauses.map((when, index) => whenPart(text, words, when, whenAt[index] ?? 0));
        yield {
          with: text.slice(0, words[verbAt]?.start).trim(), target: sliceOf(text, words, verbAt + 1, usingAt),
          from: sliceOf(text, words, usingAt, onAt), where: sliceOf(text, words, onAt, firstWhen), whens,
        };
      }
    }
  }
}

const commands: Readonly<Record<string, WhenPart['command']>> = { CMD_UPDATE: 'update', CMD_DELETE: 'delete', CMD_INSERT: 'insert', CMD_NOTHING: 'nothing' };

function whenPart(text: string, words: readonly Word[], tree: Tree, at: number): WhenPart {
  const thenAt = indexesOf(words, 'then', at)[0];
  const andAt = nodeIn(tree, 'condition') === undefined ? undefined : indexesOf(words, 'and', at)[0];
  return { match: matchOf(tree), command: commands[stringIn(tree, 'commandType') ?? ''] ?? 'delete', condition: andAt === undefined ? undefined : sliceOf(text, words, andAt, thenAt) };
}

/** Up to 16 the tree only says whether it matched. */
function matchOf(tree: Tree): WhenPart['match'] {
  switch (stringIn(tree, 'matchKind')) {
    case 'MERGE_WHEN_MATCHED': return 'matched';
    case 'MERGE_WHEN_NOT_MATCHED_BY_SOURCE': return 'not-matched-by-source';
    case 'MERGE_WHEN_NOT_MATCHED_BY_TARGET': return 'not-matched-by-target';
    default: return tree['matched'] === true ? 'matched' : 'not-matched-by-target';
  }
}

/** The text behind word `begin` up to word `end`, or to the end. */
function sliceOf(text: string, words: readonly Word[], begin: number, end: number | undefined): string {
  return text.slice(words[begin]?.end ?? 0, end === undefined ? text.length : words[end]?.start).trim();
}

function indexesOf(words: readonly Word[], word: string, after: number): number[] {
  return words.flatMap((one, index) => (index > after && one.word === word ? [index] : []));
}

function outerWords(text: string): readonly Word[] {
  const words: Word[] = [];
  const open: string[] = [];
  let at = 0;
  for (const token of tokensOf(text)) {
    const word = token.kind === 'word' ? token.text.toLowerCase() : token.kind === 'symbol' ? token.text : '';
    const start = at;
    at += token.text.length;
    if (word === '(' || word === '[' || word === 'case') open.push(word);
    else if (word === ')' || word === ']' || (word === 'end' && open.at(-1) === 'case')) open.pop();
    else if (token.kind === 'word' && open.length === 0) words.push({ word, start, end: at });
  }
  return words;
}

function isRight(node: string, tree: Tree, parts: DmlParts, parser: Parser): boolean {
  const isMerge = node === 'MergeStmt';
  const joined = node === 'UpdateStmt' ? nodesIn(tree, 'fromClause') : isMerge ? [nodeIn(tree, 'sourceRelation')] : nodesIn(tree, 'usingClause');
  const wanted = {
    withClause: tree['withClause'], fromClause: [{ RangeVar: tree['relation'] }, ...joined.map((one) => (one === undefined ? one : { [one.type]: one.tree }))],
    whereClause: tree[isMerge ? 'joinCondition' : 'whereClause'],
  };
  if (!isProved(parts, parts.where, wanted, parser)) return false;
  const clauses = nodesIn(tree, 'mergeWhenClauses');
  return parts.whens.every(({ condition }, index) => isProved(parts, condition, { ...wanted, whereClause: clauses[index]?.tree['condition'] }, parser));
}

/** A SELECT of the pieces must read as exactly these clauses. */
function isProved(parts: DmlParts, where: string | undefined, wanted: Tree, parser: Parser): boolean {
  const from = parts.from === undefined ? '' : `,\n${parts.from}`;
  const parsed = parser.parse(`${parts.with}\nSELECT FROM ${parts.target}${from}\n${where === undefined ? '' : `WHERE ${where}`}`);
  if (parsed.kind !== 'parsed' || parsed.statements.length !== 1 || parsed.statements[0]?.node !== 'SelectStmt') return false;
  const found = parsed.statements[0].tree;
  const known = new Set(['withClause', 'fromClause', 'whereClause', 'limitOption', 'op']);
  if (Object.keys(found).some((field) => !known.has(field))) return false;
  const shape = shapeOf({ withClause: found['withClause'], fromClause: found['fromClause'], whereClause: found['whereClause'] });
  return shape !== undefined && shape === shapeOf(wanted);
}

const places = /(?:location|list_start|list_end)$/;

/** Equal for trees that differ in nothing but the places of their text; undefined when nested too deeply to compare. */
function shapeOf(tree: Tree): string | undefined {
  try {
    return JSON.stringify(tree, (name, value: unknown) => (places.test(name) ? undefined : value));
  } catch {
    return undefined;
  }
}
