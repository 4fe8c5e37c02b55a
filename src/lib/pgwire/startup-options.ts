/**
 * The `options` start-up parameter: command-line words for the server process, split as PostgreSQL's pg_split_opts does
 * (white space separates, a backslash takes the next character as it is). Only settings are read, in the three ways to
 * write one: `-c name=value`, `-cname=value` and `--name=value`. Any other switch makes the whole undefined, because what
 * it would do is not known here. Of a dash in a setting's name PostgreSQL makes an underscore.
 */
export function parseStartupOptions(text: string): readonly (readonly [name: string, value: string])[] | undefined {
  const words = splitWords(text);
  const settings: (readonly [string, string])[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    const assignment = word === '-c' ? words[(at += 1)] : /^-(?:c|-)(.+)$/s.exec(word)?.[1];
    const setting = assignment === undefined ? undefined : splitAssignment(assignment);
    if (setting === undefined) return undefined;
    settings.push(setting);
  }
  return settings;
}

function splitAssignment(assignment: string): readonly [string, string] | undefined {
  const match = /^([A-Za-z_][\w.$-]*)=(.*)$/s.exec(assignment);
  return match === null ? undefined : [(match[1] ?? '').replaceAll('-', '_').toLowerCase(), match[2] ?? ''];
}

function splitWords(text: string): readonly string[] {
  // Exactly C's isspace: JavaScript's \s holds Unicode spaces as well, at which PostgreSQL does not split.
  const words = text.match(/(?:\\.|[^\\ \t\n\v\f\r])+/gs) ?? [];
  return words.map((word) => word.replace(/\\(.)/gs, '$1'));
}
