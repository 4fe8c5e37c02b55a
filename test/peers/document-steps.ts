/**
 * Reads the commands and their shown output out of a Markdown document, so that a test can follow it literally.
 *   ```sh       each line is a shell command; from `#` on it is a remark
 *   ```console  `$ ` begins a shell command, `shop=> ` a statement typed into the open psql; what follows is its output,
 *               and lines before the first prompt are what psql prints next
 * In shown output `…` stands for anything. Times, ids, digests, widths of columns and where lines are broken may differ.
 */
export type Step =
  | { readonly kind: 'shell' | 'sql'; readonly line: number; readonly text: string; readonly shown: readonly string[] }
  | { readonly kind: 'more'; readonly line: number; readonly text: ''; readonly shown: readonly string[] };

/** The content of each block that begins with this line behind its fence, such as `json gateway`. */
export function fencesNamed(markdown: string, name: string): readonly string[] {
  return [...markdown.matchAll(/^```(.+)\n([^]*?)^```$/gm)].filter(([, info]) => info === name).map(([, , text = '']) => text);
}

interface Fence { readonly language: string; readonly line: number; readonly lines: readonly string[] }

const prompts = { shell: '$ ', sql: 'shop=> ' } as const;

export function stepsOf(markdown: string): readonly Step[] {
  return fencesOf(markdown).flatMap((fence): readonly Step[] => {
    if (fence.language === 'sh') return shellSteps(fence);
    return fence.language === 'console' ? consoleSteps(fence) : [];
  });
}

function fencesOf(markdown: string): readonly Fence[] {
  const fences: { language: string; line: number; lines: string[] }[] = [];
  let isOpen = false;
  for (const [index, text] of markdown.split('\n').entries()) {
    const [fence, language = ''] = /^```(\S*)/.exec(text) ?? [];
    if (fence === undefined) { if (isOpen) fences.at(-1)?.lines.push(text); continue; }
    isOpen = !isOpen;
    if (isOpen) fences.push({ language, line: index + 2, lines: [] });
  }
  if (isOpen) throw new Error('the last fenced block is not closed');
  return fences;
}

function shellSteps({ line, lines }: Fence): readonly Step[] {
  return lines.flatMap((text, index): readonly Step[] => {
    const command = text.replace(/(^|\s+)#.*$/, '').trim();
    return command === '' ? [] : [{ kind: 'shell', line: line + index, text: command, shown: [] }];
  });
}

function consoleSteps({ line, lines }: Fence): readonly Step[] {
  const steps: (Step & { readonly shown: string[] })[] = [];
  for (const [index, text] of lines.entries()) {
    const kind = text.startsWith(prompts.shell) ? 'shell' : text.startsWith(prompts.sql) ? 'sql' : undefined;
    if (kind !== undefined) steps.push({ kind, line: line + index, text: text.slice(prompts[kind].length).trim(), shown: [] });
    else if (steps.length === 0) steps.push({ kind: 'more', line: line + index, text: '', shown: [text] });
    else steps.at(-1)?.shown.push(text);
  }
  return steps;
}

/** The lines that were shown, as a pattern for all that is printed. */
export function patternOf(shown: readonly string[]): RegExp {
  const escaped = steady(shown.join('\n')).replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&').replaceAll('…', '[^]*?');
  return new RegExp(`^${escaped}$`);
}

/** Text without what differs from run to run. */
export function steady(text: string): string {
  return text
    .replaceAll(/\u001b\[[0-9;]*m/g, '')
    .replaceAll(/\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?Z?/g, 'DATETIME')
    .replaceAll(/\b\d{2}:\d{2}:\d{2}(?:\.\d+)?\b/g, 'TIME')
    .replaceAll(/\b(apr|act|ses|con)_[a-z0-9]+\b/gi, '$1_ID')
    .replaceAll(/\b[0-9a-f]{12,64}\b/g, 'DIGEST')
    .replaceAll(/\b\d+(?:\.\d+)? ?(ms|s|min|seconds|minutes|entries)\b/g, 'N $1')
    .replaceAll(/-{2,}/g, '--').replaceAll(/\s+/g, ' ').trim();
}

export interface CommandUse { readonly line: number; readonly words: readonly string[] }

/** Each `backstop …` that a document names, in a block or in the text, as the words after it. */
export function backstopUses(markdown: string): readonly CommandUse[] {
  const blockLines = new Set(fencesOf(markdown).flatMap(({ line, lines }) => lines.map((_, index) => line + index)));
  return markdown.split('\n').flatMap((text, index): readonly CommandUse[] => {
    const line = index + 1;
    const found = blockLines.has(line)
      ? [/(?:^|[|;&] ?|\$ )\s*(?:bin\/)?backstop((?: [^#|;&]*)?)/.exec(text.trim())?.[1]]
      : [...text.matchAll(/`(?:\$ )?(?:bin\/)?backstop((?: [^`]*)?)`/g)].map(([, words]) => words);
    return found.filter((words) => words !== undefined).map((words) => ({ line, words: splitWords(words) }));
  });
}

/** As a shell would, for the quotes that documents use; brackets of a synopsis are dropped. */
function splitWords(text: string): readonly string[] {
  return (text.match(/"[^"]*"|'[^']*'|[^\s"']+/g) ?? []).map((word) => word.replaceAll(/^[[(]+|[\])]+$/g, '')).filter((word) => word !== '');
}
