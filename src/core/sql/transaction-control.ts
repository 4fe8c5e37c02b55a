/**
 * Whether the code of a DO or CALL could end its transaction while it runs. PostgreSQL lets it only outside of a transaction
 * block, and there a block of ours around it would make its COMMIT fail; so only what surely has none is put into one.
 */
import { effectivePath, type Catalog } from './catalog.ts';
import type { FunctionFact } from './catalog-facts.ts';
import type { SessionFacts, Statement } from './statement.ts';

/** False only where it surely does not, by its text and that of the procedures that it may mean. */
export function mayEndTransaction({ node, block, own, mentions }: Statement, { searchPath, catalogChanged }: SessionFacts, catalog: Catalog): boolean {
  switch (node) {
    case 'DoStmt': return block === undefined || own.reasons.some(({ rule }) => rule === 'do.language') || controls.test(block);
    case 'CallStmt': {
      if (searchPath === null || catalogChanged) return true;
      const procedures = mentions.functions.flatMap(({ schema, name }) => catalog.functions(effectivePath(schema, searchPath), name)).filter(({ kind }) => kind === 'procedure');
      return procedures.length === 0 || procedures.some(mayEndIt);
    }
    default: return false;
  }
}

/** SQL's own procedures are refused it, and what they call with them. */
function mayEndIt({ language, source }: FunctionFact): boolean {
  return language !== 'sql' && (language !== 'plpgsql' || source === undefined || controls.test(source));
}

/**
 * Words, wherever they stand, because to misread a text as harmless makes it fail: COMMIT and ROLLBACK, and what may hold
 * them in turn: CALL, and a DO that belongs to no ON CONFLICT and no rule. What EXECUTE runs is refused them by PL/pgSQL.
 */
const controls = /\b(?:commit|rollback|call)\b|\bdo\b(?!\s+(?:nothing|update|also|instead)\b)/i;
