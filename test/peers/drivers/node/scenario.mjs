/**
 * Runs the shared scenario with one driver of Node and prints one JSON line for each step. A driver is an object with
 * one method for each step, and with any number of methods whose names begin with `own_` for what is special about it.
 * Environment: DATABASE_URL, FIRST_NOTE (the first of a hundred note ids that are this driver's), SHORT.
 */
const steps = ['read', 'held', 'held_in_transaction', 'denied', 'refused', 'refused_in_transaction', 'cancel', 'reconnect'];
export const url = process.env.DATABASE_URL;
export const note = Number(process.env.FIRST_NOTE);
export const endless = (name) => `SELECT count(*) FROM generate_series(1, 20000000) ${name}, generate_series(1, 1000) b`;
export const types = 'SELECT id, a_bool, a_bigint::text, a_text, an_int_array, an_enum::text FROM every_type WHERE id = 1';
export const oneToTwelve = Array.from({ length: 12 }, (_, at) => at + 1);

let texts = [];

/** The value of a step that met an error: its code is compared, its words are kept for the test to match. */
export async function fails(promise) {
  try {
    await promise;
  } catch (caught) {
    const error = serverError(caught);
    texts.push([caught.message, error.message, error.detail, error.hint].filter(Boolean).join(' '));
    return { error: error.code };
  }
  throw new Error('it ran, and must not');
}

/** Wrappers keep the server's error as their cause. */
function serverError(error) {
  for (let at = error; at; at = at.cause) {
    if (at.kind === 'postgres' || at.originalCode) return { code: at.originalCode ?? at.code, message: at.originalMessage ?? at.message, detail: at.detail, hint: at.hint };
    if (/^[0-9A-Z]{5}$/.test(at.code ?? '') && !/^P\d/.test(at.code)) return at;
  }
  return error;
}

/** A cancel that arrives before its query does is lost, in PostgreSQL too: so again and again. */
export async function repeatedly(act, work) {
  const timer = setInterval(act, 300);
  try { return await work(); } finally { clearInterval(timer); }
}

export async function run(driver) {
  const own = process.env.SHORT ? [] : Object.getOwnPropertyNames(driver).filter((name) => name.startsWith('own_')).sort();
  let failed = false;
  for (const step of [...steps, ...own]) {
    texts = [];
    let line;
    try {
      line = { step, value: await driver[step](), texts };
    } catch (error) {
      failed = true;
      line = { step, failed: `${error.stack}\n${JSON.stringify(error)}\n${JSON.stringify(error.cause)}` };
    }
    console.log(JSON.stringify(line));
  }
  process.exit(failed ? 1 : 0);
}
