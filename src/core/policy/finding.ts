/**
 * Finding: what a rule says when it fires, and the words that all rules share.
 */
import type { Effect } from '../risk.ts';
import type { Decision } from '../verdict.ts';

export interface Finding {
  readonly decision: Decision;
  readonly observed: string;
  readonly threshold: string;
  /** One sentence for a person or a language model. */
  readonly message: string;
}

export const phrases: Readonly<Record<Decision, string>> = { allow: 'lets it pass', hold: 'holds it until a person has answered', deny: 'denies it' };

/** Of names in a sentence. */
export const objectsMax = 5;

export function listObjects(effects: readonly Effect[]): string {
  const names = [...new Set(effects.map((effect) => `${effect.kind} ${effect.object ?? 'of an unnamed object'}`))];
  const more = names.length - objectsMax;
  return `${names.slice(0, objectsMax).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
