/**
 * What a command of the command line is, and what it is given. A command reads its arguments, asks the rooms it was
 * handed, prints, and returns; what goes wrong it throws as a Failure, which cli.ts turns into one sentence and an exit
 * code. Values of other rooms come in through CliDeps only.
 */
import type { Command } from 'commander';
import type { startBackstop } from '../../app/backstop.ts';
import type { openHardening } from '../../app/hardening.ts';
import type { JudgingPlace } from '../../app/judging-place.ts';
import type { openMemory } from '../../app/memory.ts';
import type { openPurging, openSnapshots } from '../../app/snapshots.ts';
import type { withUndo } from '../../app/undo.ts';

export interface CliDeps {
  readonly version: string;
  /** How this program is called here, for texts to be pasted: `backstop`, or a path to it. */
  readonly self: string;
  /** Resolves when it is written; waits while the reader is slower. */
  readonly print: (text: string) => Promise<void>;
  /** The same for what is no text. */
  readonly printBytes: (bytes: Buffer) => Promise<void>;
  /** For people, beside the output: progress, and what went wrong. A line each. */
  readonly tell: (text: string) => void;
  readonly input: NodeJS.ReadableStream;
  /** Resolves at the next Ctrl-C or request to end, which from this call on do not end the process. */
  readonly interrupted: () => Promise<void>;
  /** From then on SIGHUP calls it and ends nothing, unless it came because the terminal has gone. Call `interrupted` too. */
  readonly onHangup: (listener: () => void) => void;
  readonly now: () => Date;
  readonly openMemory: typeof openMemory;
  readonly openSnapshots: typeof openSnapshots;
  readonly openPurging: typeof openPurging;
  readonly startBackstop: typeof startBackstop;
  /** Of a shipped policy by its name, or of a file. Throws Failure `policy_invalid`. */
  readonly policyText: (nameOrPath: string) => Promise<{ readonly text: string; readonly shownAs: string }>;
  /** Throws Failure `upstream_unsupported`. */
  readonly offlinePlace: (major: number) => Promise<JudgingPlace>;
  /** Reads who may do what in a database. Throws Failure. */
  readonly openHardening: typeof openHardening;
  /** Opens what an undo needs for as long as the work takes. Throws Failure. */
  readonly withUndo: typeof withUndo;
  /** Reads the catalog of that database, and nothing else there. Throws Failure. */
  readonly livePlace: (connectionString: string) => Promise<JudgingPlace>;
}

/** Adds a command and its subcommands to the program. */
export type CommandMaker = (program: Command, deps: CliDeps) => void;
