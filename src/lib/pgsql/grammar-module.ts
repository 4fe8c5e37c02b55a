/**
 * Loads libpg-query, PostgreSQL's own parser compiled to WebAssembly, and keeps a working instance at hand. A statement
 * too deep for the stack is an exception thrown through WebAssembly code that never unwinds: the instance still answers,
 * but its memory and its stack pointer stay lost. So a fresh instance is loaded behind it and takes over.
 */
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';

/** The part of libpg-query's interface that is used here. Both throw on what they cannot parse. */
export interface GrammarModule {
  parseSync(sql: string): unknown;
  parsePlPgSQLSync(sql: string): unknown;
}

export interface GrammarSlot {
  readonly current: GrammarModule;
  /** The current instance has been damaged; a new one takes its place as soon as it is loaded. */
  replace(): void;
  /** Resolves when no replacement is under way. */
  settled(): Promise<void>;
}

interface LoadableModule extends GrammarModule { loadModule(): Promise<void> }

const require = createRequire(import.meta.url);

/**
 * The baseline compiler only. Once the parser is warm, V8 would compile it again with its optimizing compiler, for which
 * the one function that holds the grammar takes 600 MB and a second of a core in every process, and then reads a third
 * faster. Also its frames keep their size, so what is nested too deeply is the same from first to last.
 */
const wasmFlags = ['--liftoff-only', '--no-wasm-tier-up', '--no-wasm-dynamic-tiering'];

export async function loadGrammar(packageName: string): Promise<GrammarSlot> {
  for (const flag of wasmFlags) setFlagsFromString(flag);
  let current = await loadInstance(packageName);
  let loading: Promise<void> | undefined;
  return {
    get current() { return current; },
    replace() {
      loading ??= loadInstance(packageName).then((fresh) => { current = fresh; }).finally(() => { loading = undefined; });
    },
    settled: async () => { await loading; },
  };
}

/** A new instance each time: the package keeps one per load of its module, so its module is loaded anew. */
async function loadInstance(packageName: string): Promise<GrammarModule> {
  const entry = require.resolve(packageName);
  const folder = entry.slice(0, entry.lastIndexOf('wasm'));
  for (const path of Object.keys(require.cache)) if (path.startsWith(folder)) delete require.cache[path];
  const loaded = require(entry) as LoadableModule;
  await loaded.loadModule();
  return loaded;
}
