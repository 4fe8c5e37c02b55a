/**
 * PlannedNames: what a prepared statement or a portal could do by the names as they stood whenever the server may have
 * looked them up. It keeps what it found until one of those objects or the path changes; a table or a function that somebody
 * makes meanwhile, in a schema that comes earlier, is what the judgement of now finds and not what runs. So the risks of
 * all those times count, as long as the path is the same.
 */
import { joinRisks, nothing, type Risk } from '../../core/risk.ts';
import type { Statement } from '../../core/sql/statement.ts';
import type { SessionContext } from './context.ts';
import { placeOf, withDoubt, type Setting } from './judgements.ts';

/** Different risks that are remembered for one name; with more, nobody knows what it means. */
const risksMax = 8;

interface Known { readonly place: string; readonly risk: Risk; version: string }

export class PlannedNames {
  readonly #known: Known[] = [];
  #isInDoubt = false;
  /** The last answer, so that whoever remembers something by a risk finds the same one again. */
  #last: { readonly now: Risk; readonly place: string; readonly joined: Risk } | undefined;

  /** The server may look the names up now, and would find what this risk says. */
  note(risk: Risk, setting: Setting): void {
    const place = placeOf(setting);
    const { version } = setting.catalog;
    const same = this.#known.find((known) => known.place === place && (known.version === version || isSame(known.risk, risk)));
    this.#last = undefined;
    if (same !== undefined) same.version = version;
    else if (this.#known.length < risksMax) this.#known.push({ place, risk, version });
    else this.#isInDoubt = true;
  }

  /** The risk of now, joined with what else may be meant: on a path that is not known, by any of them. */
  with(now: Risk, setting: Setting): Risk {
    const [only, ...more] = this.#known;
    if (only?.risk === now && more.length === 0) return now;
    const place = placeOf(setting);
    if (this.#last?.now === now && this.#last.place === place) return this.#last.joined;
    const others = this.#known.filter((known) => (known.place === place || setting.facts.searchPath === null) && !isSame(known.risk, now));
    const joined = others.reduce((all, { risk }) => joinRisks(all, risk), this.#isInDoubt ? withDoubt(now) : now);
    this.#last = { now, place, joined };
    return joined;
  }
}

/** What runs by a name of the extended protocol may mean what its names meant when the server looked them up. */
export function namedBefore({ runs }: Statement, { registry, state }: Pick<SessionContext, 'registry' | 'state'>, setting: Setting): Risk {
  const named = runs === undefined ? undefined : runs.kind === 'prepared' ? registry.prepared(runs.name) : registry.portal(runs.name);
  if (named?.names === undefined) return nothing;
  const isMoved = 'epoch' in named && named.epoch !== state.epoch;
  return isMoved ? withDoubt(named.names.with(nothing, { ...setting, facts: { ...setting.facts, searchPath: null } })) : named.names.with(nothing, setting);
}

function isSame(a: Risk, b: Risk): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
