/**
 * Words that have no place: plans in comments, the product's own words in lib, paths of one machine, hosts of one
 * registry. They are looked for in text, because a comment or a string is as wrong a place as code.
 */
import { matchesIn } from './source.ts';
import type { Violation } from './source.ts';

const plans = /\b(?:TODO|FIXME|HACK)\b/g;
const productWords = /\b(?:backstop|agents?|approvals?|ledgers?|polic(?:y|ies)|permits?)\b/gi;
/** A home folder, a working folder, or a scratch folder that somebody has named. */
const machinePaths = /(?<![\w.])(?:\/home\/[a-z]|\/Users\/[a-z]|\/root\/|\/work\/|\/tmp\/(?:brief|bash)|[A-Z]:\\Users\\)/gi;
const registryHosts = /\b(?:registry\.npmjs\.org|registry\.yarnpkg\.com|npm\.pkg\.github\.com|proxy\.golang\.org|pypi\.org|[\w.-]*(?:artifactory|nexus|verdaccio)[\w.-]*\.[a-z]{2,})\b/gi;

export function planViolations(path: string, text: string): Violation[] {
  return matchesIn(path, text, plans, ([word]) => `${word}: plans live in the tracker, not in files`);
}

export function productWordViolations(path: string, text: string): Violation[] {
  if (!path.startsWith('src/lib/')) return [];
  return matchesIn(path, text, productWords, ([word]) => `lib knows nothing of the product: "${word}"`);
}

export function placeViolations(path: string, text: string): Violation[] {
  return [
    ...matchesIn(path, text, machinePaths, ([found]) => `a path of one machine: ${found}…`),
    ...matchesIn(path, text, registryHosts, ([found]) => `a registry's host: ${found}`),
  ];
}
