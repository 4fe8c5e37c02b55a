/**
 * ShapedJudgements: SAFE judgements of simple queries, remembered by shape (core/sql/shape.ts), so that a client which
 * writes its values into the text is not parsed anew each time. Holds nothing that is not SAFE, and nothing of which a
 * literal could matter. Bounded by count; texts with a shape are short.
 */
import type { Risk } from '../../core/risk.ts';
import type { Catalog } from '../../core/sql/catalog.ts';
import { areLiteralsInert, shapeOf, textOfShaped, type Shape } from '../../core/sql/shape.ts';
import type { Statement } from '../../core/sql/statement.ts';
import type { Parser } from '../../lib/pgsql/parser.ts';
import type { Judged } from './judgements.ts';
import { shapesMax } from './limits.ts';

interface Shaped { readonly judged: Judged; readonly statement: Statement; readonly risk: Risk; readonly catalog: Catalog; readonly place: string }

export class ShapedJudgements {
  readonly #byKey = new Map<string, Shaped>();

  /** undefined: its judgement is not to be remembered by shape. Without literals the text itself is as good. */
  read(sql: string): Shape | undefined {
    const shape = shapeOf(sql);
    return shape !== undefined && shape.literals > 0 ? shape : undefined;
  }

  recall({ key }: Shape, sql: string, catalog: Catalog, place: string): Judged | undefined {
    const known = this.#byKey.get(key);
    if (known === undefined || known.catalog !== catalog || known.place !== place) return undefined;
    const { judged: { assessment, redacted, fingerprint }, statement, risk } = known;
    return { assessment: { risk: assessment.risk, statements: [{ statement: { ...statement, text: textOfShaped(sql) }, risk }] }, redacted, fingerprint };
  }

  remember(shape: Shape, sql: string, judged: Judged, catalog: Catalog, place: string, parser: Parser): void {
    const { assessment } = judged;
    const [one] = assessment.statements;
    if (one === undefined || assessment.statements.length !== 1 || assessment.risk.level !== 'SAFE' || one.risk.level !== 'SAFE') return;
    const { statement } = one;
    if (statement.changes.length > 0 || statement.transaction !== undefined || statement.runs !== undefined || statement.text !== textOfShaped(sql)) return;
    const parsed = parser.parse(sql);
    const [only] = parsed.kind === 'parsed' ? parsed.statements : [];
    if (only === undefined || !areLiteralsInert(shape, only)) return;
    this.#byKey.delete(shape.key);
    this.#byKey.set(shape.key, { judged, statement, risk: one.risk, catalog, place });
    if (this.#byKey.size <= shapesMax) return;
    const oldest = this.#byKey.keys().next();
    if (oldest.done !== true) this.#byKey.delete(oldest.value);
  }
}
