/** The condition of a trigger is read where it stands, whatever its names and values say. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { conditionOf } from './catalog-relations.ts';

const rows: readonly (readonly [definition: string, condition: string])[] = [
  ['CREATE TRIGGER t BEFORE UPDATE ON public.x FOR EACH ROW WHEN ((new.a > 1)) EXECUTE FUNCTION f()', '(new.a > 1)'],
  ['CREATE TRIGGER "a WHEN (true /*" BEFORE UPDATE ON public.x FOR EACH ROW WHEN (((new.a <> \'*/ --\'::text) AND evil())) EXECUTE FUNCTION f()', "((new.a <> '*/ --'::text) AND evil())"],
  ["CREATE TRIGGER t BEFORE UPDATE ON x FOR EACH ROW WHEN ((new.a = ')'::text)) EXECUTE FUNCTION f(') EXECUTE ')", "(new.a = ')'::text)"],
  ['CREATE TRIGGER t BEFORE UPDATE ON x FOR EACH ROW WHEN (CASE WHEN (new.execute) THEN g() ELSE true END) EXECUTE FUNCTION f()', 'CASE WHEN (new.execute) THEN g() ELSE true END'],
  ['of another shape', 'of another shape'],
];
for (const [definition, condition] of rows) test(definition, () => { assert.equal(conditionOf(definition), condition); });
