/** The operator's token, from the flag, the environment or the data folder of a first run. Throws Failure `not_permitted`. */
import type { Config } from '../../config.ts';
import { Failure } from '../../core/failure.ts';
import type { Options } from './options.ts';
import { operatorTokenFile, readPrivateFile } from './private-file.ts';

export function operatorTokenOf({ operatorToken: configured, dataDir }: Config, options: Options): string {
  const given = typeof options['token'] === 'string' ? options['token'] : configured?.reveal() ?? readPrivateFile(dataDir, operatorTokenFile);
  if (given !== undefined) return given;
  throw new Failure('not_permitted', 'this needs the operator\'s token', { hint: 'Give it as BACKSTOP_OPERATOR_TOKEN or with --token.' });
}
